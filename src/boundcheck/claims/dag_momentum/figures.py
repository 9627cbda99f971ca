"""Theorems on the steps of momentum, drawn with what a bound alone does not show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from boundcheck.claims.dag_momentum.steps import sampling, steps_of
from boundcheck.claims.shared.figures import COLUMNS, bound_figures, is_logarithmic, over_seeds
from boundcheck.claims.shared.selection import CELL, Selector, SelectsCells, cells_of, rows_of
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.settings import settings
from boundcheck.verdicts import Figure, Reason, Tables

if TYPE_CHECKING:
    import pandas as pd

NUM_DRAWN = 200


@settings(kw_only=True)
class StepTheorem(TheoremHolds):
    """`theorem_holds` whose figures show some of the cells only; a theorem's left side labels its ordinate.

    Args:
        shown: selectors of the cells in the figures, by field (`record`, `models`, ...). All of them count for the
            verdict.
    """

    shown: Mapping[str, Selector] = field(default_factory=dict)

    def only(self, tables: Tables) -> Tables:
        """The runs and checks of the selected cells; curves stay whole, whose steps are derived once for all claims."""
        return self.only_runs(tables)

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """The bounds beside what was measured, a figure for each left side."""
        shown = SelectsCells(**dict(self.shown), roles=self.roles).chosen(cells_of(tables.runs))
        rows = rows_of(rows[rows["premise_holds"].astype(bool)], shown)
        return self.drawn(tables, rows) if len(rows) else []

    def drawn(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """The figures of these rows, at least one, whose premise holds."""
        sides = rows.groupby(rows["theorem"].str.split(" [≤≥] ").str[0], sort=False)
        return [figure for side, part in sides for figure in bound_figures(part, str(side), self.coordinate)]


@settings(kw_only=True)
class CertifiedTheorem(StepTheorem):
    """`step_theorem` of a check whose premise is a curvature that was measured on some steps only.

    Its reason says on how many, for that is a sampled certificate.
    """

    def more_reasons(self, tables: Tables, held: pd.DataFrame) -> list[Reason]:
        """On how many steps the curvature was measured."""
        return [sampling(steps_of(tables, held))] if len(held) else []


@settings(kw_only=True)
class CertifiedDescent(CertifiedTheorem):
    """`certified_theorem` that also shows ‖g‖ of the same runs, since ‖g‖ → 0 alone says nothing of E."""

    def drawn(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """As `step_theorem`, and the gradients."""
        gradients = course_figure(steps_of(tables, rows), "gradient_norm", "‖g‖")
        return [*super().drawn(tables, rows), gradients]


@settings(kw_only=True)
class PredictedDecrease(StepTheorem):
    """`step_theorem` of a check that bounds the decrease of a step, drawn as predicted against actual decrease."""

    def drawn(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """The actual decrease against the predicted one."""
        figure = prediction_figure(rows)
        return super().drawn(tables, rows) if figure is None else [figure]


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
