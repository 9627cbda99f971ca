"""The claim that heavy ball has a Lyapunov function, which falls also where the loss itself rises."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.dag_momentum.figures import NUM_DRAWN, StepTheorem
from boundcheck.claims.dag_momentum.steps import energy_tolerance, steps_of
from boundcheck.claims.dag_momentum.theorems import lyapunov_drops
from boundcheck.claims.shared.figures import COLUMNS
from boundcheck.claims.shared.rows import RUN
from boundcheck.settings import settings
from boundcheck.verdicts import Figure, Reason, Tables, Verdict, because

if TYPE_CHECKING:
    import pandas as pd


@settings(kw_only=True)
class LyapunovDescent(StepTheorem):
    """`step_theorem` of the theorem `lyapunov` that counts the steps at which E itself rises.

    `inconclusive` where the inequality is kept and E never rises, for then nothing sets V = E + (β/(2η)) ‖Δw‖² apart
    from E. Shown besides: how far E and V rise at each step of the run in which E rises most often.
    """

    def decide(self, tables: Tables) -> Verdict:
        """As `step_theorem`, undecided where E never rises."""
        verdict = super().decide(tables)
        parts = [part for part in verdict.reason if isinstance(part, Reason) and part.kind == "loss_rises"]
        if verdict.decision == "supported" and not any(part.values["num"] for part in parts):
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
