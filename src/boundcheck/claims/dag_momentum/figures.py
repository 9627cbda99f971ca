"""Theorems on the steps of momentum, drawn with what a bound alone does not show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from boundcheck.claims.dag_momentum.steps import energy_tolerance, sampling, steps_of
from boundcheck.claims.dag_momentum.theorems import lyapunov_drops
from boundcheck.claims.shared.figures import COLUMNS, as_sentence, averaged, bound_figures, is_logarithmic, panels
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, Selector, SelectsCells, cells_of, rows_of
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.settings import settings
from boundcheck.verdicts import Figure, Reason, Tables, Verdict, because

NUM_DRAWN = 200


@settings(kw_only=True)
class StepTheorem(TheoremHolds):
    """`theorem_holds` whose figures show some of the cells only; a theorem's left side labels its ordinate.

    Args:
        shown: selectors of the cells in the figures, by field (`record`, `models`, ...). All of them count for the
            verdict.
        sampled: the premise is a curvature that was measured on some steps only; the reason says on how many.
        drawn: `bounds` beside what was measured; `gradients`: and ‖g‖ of the same runs, since ‖g‖ → 0 alone says
            nothing of E; `prediction`: the actual decrease of each step against its bound, the predicted one.
    """

    shown: Mapping[str, Selector] = field(default_factory=dict)
    sampled: bool = False
    drawn: Literal["bounds", "gradients", "prediction"] = "bounds"

    def only(self, tables: Tables) -> Tables:
        """The runs and checks of the selected cells; curves stay whole, whose steps are derived once for all claims."""
        return self.only_runs(tables)

    def more_reasons(self, tables: Tables, held: pd.DataFrame) -> list[Reason]:
        """On how many steps the curvature was measured."""
        return [sampling(steps_of(tables, held))] if self.sampled and len(held) else []

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """A figure for each left side, and what `drawn` says."""
        shown = SelectsCells(**dict(self.shown), roles=self.roles).chosen(cells_of(tables.runs))
        rows = rows_of(rows[rows["premise_holds"].astype(bool)], shown)
        positive = (rows["bound"] > 0) & (rows["measured"] > 0)
        if self.drawn == "prediction" and positive.any():
            return [_prediction_figure(rows[positive], num_left_out=int((~positive).sum()))]
        sides = rows.groupby(rows["theorem"].str.split(" [≤≥] ").str[0], sort=False)
        figures = [figure for side, part in sides for figure in bound_figures(part, str(side), self.coordinate)]
        if self.drawn == "gradients" and len(rows):
            figures.append(course_figure(steps_of(tables, rows), "gradient_norm", "‖g‖"))
        return figures


@settings(kw_only=True)
class LyapunovDescent(StepTheorem):
    """`step_theorem` of the theorem `lyapunov` that counts the steps at which E itself rises.

    `inconclusive` where the inequality is kept and E never rises, for then nothing sets V = E + (β/(2η)) ‖Δw‖² apart
    from E. Shown besides: how far E and V rise at each step of the run in which E rises most often.
    """

    def weighed(self, verdict: Verdict, tables: Tables, rows: pd.DataFrame) -> Verdict:
        """Undecided where E never rises."""
        if verdict.decision == "supported" and not _with_rises(tables, rows[rows["premise_holds"]])["rises"].any():
            return replace(verdict, decision="inconclusive")
        return verdict

    def more_reasons(self, tables: Tables, held: pd.DataFrame) -> list[Reason]:
        """As of `step_theorem`, and at how many steps E rises."""
        if not len(held):
            return []
        steps = _with_rises(tables, held)
        num, falls = int(steps["rises"].sum()), int((steps.loc[steps["rises"], "drop"] > 0).sum())
        reason = because("loss_rises", num=num, num_steps=len(steps), falls=falls)
        return [*super().more_reasons(tables, held), reason]

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """As `step_theorem`, and the rises."""
        steps = _with_rises(tables, rows[rows["premise_holds"].astype(bool)])
        return [*super().figures(tables, rows), *([_rises_figure(steps)] if steps["rises"].any() else [])]


def _prediction_figure(rows: pd.DataFrame, num_left_out: int) -> Figure:
    """The actual decrease of steps against the predicted one, both positive, and the line that bounds it from below."""
    points = rows.assign(panel=panels(rows), role="measured", x=rows["bound"])
    points = points.rename(columns={"method": "series"}).assign(**dict.fromkeys(("y", "low", "high"), rows["measured"]))
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


def _with_rises(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """The steps of the runs of these rows, with the drop of V and whether E rises."""
    steps = steps_of(tables, rows)
    steps = steps[steps["decrease"].notna()].reset_index(drop=True)
    return steps.assign(drop=lyapunov_drops(steps), rises=-steps["decrease"] > energy_tolerance(steps))


def _rises_figure(steps: pd.DataFrame) -> Figure:
    """How far E and V lie above their least value so far, in the run in which E rises most often."""
    run: Any = steps.groupby(list(RUN))["rises"].sum().idxmax()
    part = steps[(steps[list(RUN)] == list(run)).all(axis=1)]
    V = part["objective"].iloc[0] - part["drop"].cumsum().shift(1, fill_value=0.0)
    excess = part[["step"]].assign(**{name: y - y.cummin() for name, y in (("E", part["objective"]), ("V", V))})
    data = excess.rename(columns={"step": "x"}).melt("x", var_name="series", value_name="y")
    every = max(1, len(part) // NUM_DRAWN)
    highest = data.groupby(["series", data["x"] // every])["y"].idxmax()
    data = data.loc[np.sort(highest.to_numpy())].assign(panel=f"{run[0]} · {run[1]}", role="measured")
    data = data.assign(low=data["y"], high=data["y"])
    which = f"of {run[2]}, seed {run[3]}" + (f"; of every {every} steps the highest" if every > 1 else "")
    caption = f"How far E and V = E + (β/(2η))‖Δw‖² lie above the least value that they had so far, {which}."
    return Figure(data[list(COLUMNS)], "line", "step", "excess over the least value so far", caption)


def course_figure(steps: pd.DataFrame, quantity: str, label: str) -> Figure:
    """The mean over seeds of a quantity by step, with their range, at no more than 400 of the steps that have it."""
    steps = steps[steps[quantity].notna()]
    places = steps.groupby(list(CELL))["step"]
    every = (places.transform("nunique") // NUM_DRAWN).clip(lower=1)
    drawn = steps[(places.rank("dense") - 1) % every == 0]
    data = averaged(drawn, quantity, x="step")
    caption = f"{as_sentence(label)} along the run: mean over seeds, and their range."
    return Figure(data, "line", "step", label, caption, log_y=is_logarithmic(data["y"]))
