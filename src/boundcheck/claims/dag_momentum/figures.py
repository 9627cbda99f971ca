"""Theorems on the steps of momentum, drawn with what a bound alone does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from boundcheck.claims.dag_momentum.steps import CELL, joined, momentum_steps, sampling
from boundcheck.claims.shared.figures import COLUMNS, bound_figures, is_logarithmic, over_seeds
from boundcheck.claims.shared.pairs import matching
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

NUM_DRAWN = 200


@dataclass(frozen=True)
class StepTheorem(TheoremHolds):
    """`theorem_holds` whose figures show some of the methods only; a theorem's left side labels its ordinate.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    shown: Sequence[str] = ("*",)

    def decide(self, tables: Tables) -> Verdict:
        """As `theorem_holds`, with figures of what is to be shown."""
        verdict = super().decide(tables)
        rows = premise_rows(tables, self.check)
        rows = rows[rows["method"].isin(matching(list(rows["method"].unique()), self.shown, ""))]
        return self._drawn(verdict, rows, tables) if len(rows) else verdict

    def _drawn(self, verdict: Verdict, rows: pd.DataFrame, tables: Tables) -> Verdict:
        sides = rows.groupby(rows["theorem"].str.split(" [≤≥] ").str[0], sort=False)
        figures = [figure for side, part in sides for figure in bound_figures(part, str(side), self.coordinate)]
        return replace(verdict, figures=figures)


@dataclass(frozen=True)
class CertifiedTheorem(StepTheorem):
    """`step_theorem` of a check whose premise is a curvature that was measured on some steps only.

    Its reason says on how many, for that is a sampled certificate.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    def decide(self, tables: Tables) -> Verdict:
        """As `step_theorem`, with how many steps the curvature was measured on."""
        verdict = super().decide(tables)
        runs = premise_rows(tables, self.check)[list(RUN)].drop_duplicates()
        sampled = sampling(momentum_steps(tables).merge(runs, on=list(RUN))) if len(runs) else ""
        return replace(verdict, reason=joined(verdict.reason, sampled))


@dataclass(frozen=True)
class CertifiedDescent(CertifiedTheorem):
    """`certified_theorem` that also shows ‖g‖ of the same runs, since ‖g‖ → 0 alone says nothing of E.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    def _drawn(self, verdict: Verdict, rows: pd.DataFrame, tables: Tables) -> Verdict:
        runs = rows[list(RUN)].drop_duplicates()
        gradients = course_figure(momentum_steps(tables).merge(runs, on=list(RUN)), "gradient_norm", "‖g‖")
        verdict = super()._drawn(verdict, rows, tables)
        return replace(verdict, figures=[*verdict.figures, gradients])


@dataclass(frozen=True)
class PredictedDecrease(StepTheorem):
    """`theorem_holds` of a check that bounds the decrease of a step, drawn as predicted against actual decrease.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    def _drawn(self, verdict: Verdict, rows: pd.DataFrame, tables: Tables) -> Verdict:
        figure = prediction_figure(rows)
        return verdict if figure is None else replace(verdict, figures=[figure])


def premise_rows(tables: Tables, check: str) -> pd.DataFrame:
    """The rows of a check whose premise holds."""
    return tables.checks[(tables.checks["check"] == check) & tables.checks["premise_holds"].astype(bool)]


def prediction_figure(rows: pd.DataFrame) -> Figure | None:
    """The actual decrease of steps against the predicted one, and the line that it must not fall below.

    Args:
        rows: check rows whose premise holds; those where either is not positive have no place on logarithmic axes.
    """
    import pandas as pd

    positive = (rows["bound"] > 0) & (rows["measured"] > 0)
    num_left_out, rows = int((~positive).sum()), rows[positive]
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
    num_below = int((~rows["holds"].astype(bool)).sum())
    caption = (
        f"Actual decrease of a measured step (dots) against the predicted one; {num_below or 'none'} of {len(rows)} "
        "lie below the line of equals by more than rounding"
    )
    caption += f"; {num_left_out} that are not positive have no place on these axes." if num_left_out else "."
    data = pd.concat([points, line], ignore_index=True)[list(COLUMNS)]
    return Figure(data, "points", "predicted decrease of E", "actual decrease of E", caption, log_x=True, log_y=True)


def course_figure(steps: pd.DataFrame, quantity: str, label: str) -> Figure:
    """The mean over seeds of a quantity by step, with their range, at no more than 400 of the steps that have it."""
    steps = steps[steps[quantity].notna()]
    places = steps.groupby(list(CELL))["step"]
    every = (places.transform("nunique") // NUM_DRAWN).clip(lower=1)
    drawn = steps[(places.rank("dense") - 1) % every == 0]
    data = over_seeds(drawn, x="step", y=quantity).assign(role="measured")
    caption = f"{label[0].upper() + label[1:]} along the run: mean over seeds, and their range."
    return Figure(data[list(COLUMNS)], "line", "step", label, caption, log_y=is_logarithmic(data["y"]))
