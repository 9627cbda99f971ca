"""The claim that the generalisation bound of weight-normalised networks holds, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from boundcheck.claims.bound_sweep import BoundSweep
from boundcheck.claims.rows import wide
from boundcheck.verdicts import Decision, Tables, Verdict


@dataclass(frozen=True)
class GapBoundSays(BoundSweep):
    """`bound_sweep` of the gap, `vacuous` where no run's bound is below the loss of predicting 0.

    Otherwise that is all that could be said without training. The reason says by how much the bound is too large, and
    at which number of examples it would fall below that loss.
    """

    def decide(self, tables: Tables) -> Verdict:
        """As `bound_sweep`; a bound that holds is weighed against the loss of predicting 0."""
        verdict = super().decide(tables)
        names = ["gap", "gap_bound", "zero_loss", "num_samples", "num_samples_needed"]
        found = wide(tables.measurements, names, by_coordinate=False).dropna(subset=names)
        if verdict.decision not in ("supported", "vacuous") or not len(found):
            return verdict
        excess = (found["gap_bound"] / found["zero_loss"]).to_numpy()
        needed, gap = found["num_samples_needed"].to_numpy(), found["gap"].to_numpy()
        says = int((excess < 1).sum())
        reason = (
            f"the bound is {excess.min():.3g} to {excess.max():.3g} times the loss of predicting 0, and below it on "
            f"{says} of {len(found)} rows; it would fall below it from n = {needed.min():.0f} to {needed.max():.0f}; "
            f"measured gaps lie in [{gap.min():.3g}, {gap.max():.3g}]; {verdict.reason}"
        )
        effect = float(np.median(excess))
        decision: Decision = "supported" if says else "vacuous"
        return replace(verdict, decision=decision, reason=reason, effect=effect, unit="× the loss of predicting 0")
