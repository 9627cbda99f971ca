"""The claim that heavy ball has a Lyapunov function, which falls also where the loss itself rises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.dag_momentum.figures import NUM_DRAWN, CertifiedTheorem, premise_rows
from boundcheck.claims.dag_momentum.runs import lyapunov_drops
from boundcheck.claims.dag_momentum.steps import energy_tolerance, joined, momentum_steps
from boundcheck.claims.shared.figures import COLUMNS
from boundcheck.claims.shared.rows import RUN
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LyapunovDescent(CertifiedTheorem):
    """`certified_theorem` of the check `heavy_ball_lyapunov` that counts the steps at which E itself rises.

    `inconclusive` where the inequality is kept and E never rises, for then nothing sets V = E + (β/(2η)) ‖Δw‖² apart
    from E. Shown besides: how far E and V rise at each step of the run in which E rises most often.

    Args:
        shown: names of methods in figures; patterns are allowed. All of them count for the verdict.
    """

    def decide(self, tables: Tables) -> Verdict:
        """As `certified_theorem`, with the rises of E."""
        verdict = super().decide(tables)
        runs = premise_rows(tables, self.check)[list(RUN)].drop_duplicates()
        if verdict.decision != "supported" or not len(runs):
            return verdict
        steps = momentum_steps(tables, ["heavy_ball"]).merge(runs, on=list(RUN))
        steps = steps[steps["decrease"].notna()].reset_index(drop=True)
        steps = steps.assign(drop=lyapunov_drops(steps), rises=-steps["decrease"] > energy_tolerance(steps))
        num = int(steps["rises"].sum())
        falls = int((steps.loc[steps["rises"], "drop"] > 0).sum())
        reason = joined(
            verdict.reason, f"E itself rises at {num} of {len(steps)} steps, and V falls at {falls} of these"
        )
        if not num:
            return replace(verdict, decision="inconclusive", reason=reason)
        return replace(verdict, reason=reason, figures=[*verdict.figures, _rises_figure(steps)])


def _rises_figure(steps: pd.DataFrame) -> Figure:
    """How far E and V lie above their least value so far, in the run in which E rises most often."""
    import pandas as pd

    run: Any = steps.groupby(list(RUN))["rises"].sum().idxmax()
    part = steps[(steps[list(RUN)] == list(run)).all(axis=1)]
    V = part["objective"].iloc[0] - part["drop"].cumsum().shift(1, fill_value=0.0)
    excess = {"E": part["objective"], "V": V}
    every = max(1, len(part) // NUM_DRAWN)
    data = pd.concat(
        [
            pd.DataFrame(
                {"series": name, "x": part["step"].to_numpy(float), "y": (values - values.cummin()).to_numpy()}
            )
            for name, values in excess.items()
        ],
        ignore_index=True,
    )
    highest = data.groupby(["series", data["x"] // every])["y"].idxmax()
    data = data.loc[np.sort(highest.to_numpy())].assign(panel=f"{run[0]} · {run[1]}", role="measured")
    data = data.assign(low=data["y"], high=data["y"])
    which = f"of {run[2]}, seed {run[3]}" + (f"; of every {every} steps the highest" if every > 1 else "")
    caption = f"How far E and V = E + (β/(2η))‖Δw‖² lie above the least value that they had so far, {which}."
    return Figure(data[list(COLUMNS)], "line", "step", "excess over the least value so far", caption)
