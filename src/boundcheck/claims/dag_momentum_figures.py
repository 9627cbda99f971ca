"""Theorems on the steps of momentum, drawn with what a bound alone does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from boundcheck.claims.dag_momentum_steps import CELL, KINDS, momentum_steps
from boundcheck.claims.figures import COLUMNS, bound_figures, is_logarithmic, over_seeds
from boundcheck.claims.pairs import matching
from boundcheck.claims.rows import RUN
from boundcheck.claims.theorem_holds import TheoremHolds
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

NUM_DRAWN = 200


@dataclass(frozen=True)
class StepTheorem(TheoremHolds):
    """`theorem_holds` whose figures show some of the methods only.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    shown: Sequence[str] = ("*",)

    def decide(self, tables: Tables) -> Verdict:
        """As `theorem_holds`, with figures of what is to be shown."""
        verdict = super().decide(tables)
        rows = tables.checks[(tables.checks["check"] == self.check) & tables.checks["premise_holds"].astype(bool)]
        rows = rows[rows["method"].isin(matching(list(rows["method"].unique()), self.shown, ""))]
        return self._drawn(verdict, rows, tables) if len(rows) else verdict

    def _drawn(self, verdict: Verdict, rows: pd.DataFrame, tables: Tables) -> Verdict:
        return replace(verdict, figures=bound_figures(rows, self.quantity, self.coordinate))


@dataclass(frozen=True)
class CertifiedDescent(StepTheorem):
    """`theorem_holds` of a check whose premise is a curvature that was measured on some steps only.

    Its reason says on how many, for that is a sampled certificate. Shown besides: ‖g‖ of the same runs, since ‖g‖ → 0
    alone says nothing of E.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    def _drawn(self, verdict: Verdict, rows: pd.DataFrame, tables: Tables) -> Verdict:
        checks = tables.checks
        premise = checks[(checks["check"] == self.check) & checks["premise_holds"].astype(bool)]
        steps = momentum_steps(tables, KINDS)
        certified = steps.merge(premise[list(RUN)].drop_duplicates(), on=list(RUN))
        num = int(certified["local_curvature"].notna().sum())
        reason = f"{verdict.reason}; a sampled certificate: curvature measured on {num} of {len(certified)} steps"
        gradients = course_figure(steps.merge(rows[list(RUN)].drop_duplicates(), on=list(RUN)), "gradient_norm", "‖g‖")
        figures = [*bound_figures(rows, self.quantity, self.coordinate), gradients]
        return replace(verdict, reason=reason, figures=figures)


@dataclass(frozen=True)
class PredictedDecrease(StepTheorem):
    """`theorem_holds` of a check that bounds the decrease of a step, drawn as predicted against actual decrease.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    def _drawn(self, verdict: Verdict, rows: pd.DataFrame, tables: Tables) -> Verdict:
        figure = prediction_figure(rows)
        return verdict if figure is None else replace(verdict, figures=[figure])


def prediction_figure(rows: pd.DataFrame) -> Figure | None:
    """The actual decrease of steps against the predicted one, and the line that it must not fall below.

    Args:
        rows: check rows; those where either is not positive have no place on logarithmic axes.
    """
    import pandas as pd

    rows = rows[(rows["bound"] > 0) & (rows["measured"] > 0)]
    if not len(rows):
        return None
    points = pd.DataFrame(
        {
            "panel": [f"{dataset} · {model}" for dataset, model in zip(rows["dataset"], rows["model"], strict=True)],
            "series": rows["method"].to_numpy(),
            "x": rows["bound"].to_numpy(float),
            "y": rows["measured"].to_numpy(float),
        }
    )
    points = points.assign(low=points["y"], high=points["y"], role="measured")
    ends = points.groupby("panel").agg(series=("series", "min"), low=("x", "min"), high=("x", "max")).reset_index()
    line = ends.melt(["panel", "series"], value_name="x").assign(role="lower bound")
    line = line.assign(y=line["x"], low=line["x"], high=line["x"])
    caption = "Actual decrease of a measured step (dots) against the predicted one; none lies below the line of equals."
    data = pd.concat([points, line], ignore_index=True)[list(COLUMNS)]
    return Figure(data, "points", "predicted decrease", "actual decrease", caption, log_x=True, log_y=True)


def course_figure(steps: pd.DataFrame, quantity: str, label: str) -> Figure:
    """The mean over seeds of a quantity by step, with their range, at no more than 400 of the steps that have it."""
    steps = steps[steps[quantity].notna()]
    places = steps.groupby(list(CELL))["step"]
    every = (places.transform("nunique") // NUM_DRAWN).clip(lower=1)
    drawn = steps[(places.rank("dense") - 1) % every == 0]
    data = over_seeds(drawn, x="step", y=quantity).assign(role="measured")
    caption = f"{label[0].upper() + label[1:]} along the run: mean over seeds, and their range."
    return Figure(data[list(COLUMNS)], "line", "step", label, caption, log_y=is_logarithmic(data["y"]))
