"""Theorems on the steps of momentum, drawn with what a bound alone does not show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from boundcheck.claims.dag_momentum_steps import KINDS, momentum_steps
from boundcheck.claims.figures import COLUMNS, is_logarithmic, over_seeds
from boundcheck.claims.rows import RUN
from boundcheck.claims.theorem_holds import TheoremHolds
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

NUM_DRAWN = 200


@dataclass(frozen=True)
class CertifiedDescent(TheoremHolds):
    """`theorem_holds` of a check whose premise is a curvature that was measured on some steps only.

    Its reason says on how many, for that is a sampled certificate. Shown besides: ‖g‖ of the same runs, since ‖g‖ → 0
    alone says nothing of E.
    """

    def decide(self, tables: Tables) -> Verdict:
        """As `theorem_holds`."""
        verdict = super().decide(tables)
        rows = tables.checks[tables.checks["check"] == self.check]
        held = rows.loc[rows["premise_holds"].astype(bool), list(RUN)].drop_duplicates()
        if not len(held):
            return verdict
        steps = momentum_steps(tables, KINDS).merge(held, on=list(RUN))
        num = int(steps["local_curvature"].notna().sum())
        reason = f"{verdict.reason}; a sampled certificate: curvature measured on {num} of {len(steps)} steps"
        return replace(verdict, reason=reason, figures=[*verdict.figures, course_figure(steps, "gradient_norm", "‖g‖")])


@dataclass(frozen=True)
class PredictedDecrease(TheoremHolds):
    """`theorem_holds` of a check that bounds the decrease of a step, drawn as predicted against actual decrease."""

    def decide(self, tables: Tables) -> Verdict:
        """As `theorem_holds`, with the figure of both decreases first."""
        verdict = super().decide(tables)
        rows = tables.checks[(tables.checks["check"] == self.check) & tables.checks["premise_holds"].astype(bool)]
        figure = prediction_figure(rows)
        return verdict if figure is None else replace(verdict, figures=[figure, *verdict.figures])


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
    line = points.assign(role="lower bound", y=points["x"], low=points["x"], high=points["x"])
    caption = (
        "Actual decrease of each measured step (dots) against the predicted one; no dot lies below the line of equals."
    )
    data = pd.concat([points, line], ignore_index=True)[list(COLUMNS)]
    return Figure(data, "points", "predicted decrease", "actual decrease", caption, log_x=True, log_y=True)


def course_figure(steps: pd.DataFrame, quantity: str, label: str) -> Figure:
    """The mean over seeds of a quantity by step, with their range."""
    every = max(int(steps["step"].max()) // NUM_DRAWN, 1)
    data = over_seeds(steps[steps["step"] % every == 0], x="step", y=quantity).assign(role="measured")
    caption = f"{label[0].upper() + label[1:]} along the run: mean over seeds, and their range."
    return Figure(data[list(COLUMNS)], "line", "step", label, caption, log_y=is_logarithmic(data["y"]))
