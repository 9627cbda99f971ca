"""How paired differences of several cells decide a statement about their sign."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from boundcheck.claims.shared.statistics import Interval, num_runs_needed, pool, student_interval
from boundcheck.verdicts import Decision

DECISION_OF_CELL: dict[int, Decision] = {1: "supported", 0: "inconclusive", -1: "contradicted"}


class SignDecision(NamedTuple):
    """A decision with its reason, the interval of the pooled differences and one for each cell."""

    decision: Decision
    reason: str
    pooled: Interval
    cells: dict[str, Interval]
    num_runs_needed: int | None

    def of_cell(self, name: str, favoured_sign: int) -> Decision:
        """What one cell says on its own; "not run" without a pair."""
        interval = self.cells[name]
        return DECISION_OF_CELL[interval.sign * favoured_sign] if interval.num else "not run"


def decide_sign(differences: Mapping[str, Mapping[int, float]], favoured_sign: int, relation: str) -> SignDecision:
    """Whether differences have the stated sign.

    `supported` where the 95% interval of the per-seed means pooled over the cells lies on the stated side of 0 and no
    cell's own interval lies on the other; `contradicted` where the pooled interval lies on the other side; otherwise
    `inconclusive`, with the n at which the pooled interval would leave 0 at the measured spread.

    Args:
        differences: by cell, then by seed; at least one cell has one.
        favoured_sign: +1 or −1, the sign that the statement claims.
        relation: what a difference of that sign means, for the reason: "lower than sgd".
    """
    cells = {name: student_interval(list(by_seed.values())) for name, by_seed in differences.items()}
    pooled = student_interval(list(pool([by_seed for by_seed in differences.values() if by_seed]).values()))
    sides = {name: interval.sign * favoured_sign for name, interval in cells.items() if interval.num}
    against = [name for name, side in sides.items() if side < 0]
    found = f"{relation} in {sum(side > 0 for side in sides.values())} of {len(sides)} cells"
    if against:
        found += f", the reverse in {len(against)}: {', '.join(against)}"
    side = pooled.sign * favoured_sign
    if side > 0 and not against:
        return SignDecision("supported", found, pooled, cells, None)
    if side < 0:
        return SignDecision(
            "contradicted", f"the pooled interval lies on the other side of 0; {found}", pooled, cells, None
        )
    reason = "the cells disagree" if side > 0 else _why_undecided(pooled)
    needed = num_runs_needed(pooled.mean, pooled.std) if side == 0 else None
    return SignDecision("inconclusive", f"{reason}; {found}", pooled, cells, needed)


def _why_undecided(pooled: Interval) -> str:
    if pooled.num < 2:
        return f"an interval needs two seeds that every cell has, there {'is 1' if pooled.num else 'is none'}"
    if math.isnan(pooled.low):
        return f"all {pooled.num} seeds give one and the same difference, so that their spread is unknown"
    return "the pooled interval covers 0"
