"""How paired differences of several cells decide a statement: about their sign, or about a margin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from boundcheck.claims.shared.selection import CellKey
from boundcheck.claims.shared.statistics import Interval, num_runs_needed, pool, student_interval
from boundcheck.verdicts import Decision, Reason, because

DECISION_OF_CELL: dict[int, Decision] = {1: "supported", 0: "inconclusive", -1: "contradicted"}
Differences = Mapping[CellKey, Mapping[int, float]]  # by cell, then by seed


class Decided(NamedTuple):
    """A decision with its reasons, the interval of the pooled differences, and of each cell interval and decision."""

    decision: Decision
    reasons: Sequence[Reason]
    pooled: Interval
    intervals: Mapping[CellKey, Interval]
    decisions: Mapping[CellKey, Decision]
    num_runs_needed: int | None = None


def decide_sign(differences: Differences, favoured_sign: int) -> Decided:
    """Whether differences have the stated sign.

    `supported` where the 95% interval of the per-seed means pooled over the cells lies on the stated side of 0 and no
    cell's own interval lies on the other; `contradicted` where the pooled interval lies on the other side; otherwise
    `inconclusive`, with the n at which the pooled interval would leave 0 at the measured spread.

    Args:
        differences: at least one cell has one.
        favoured_sign: +1 or −1, the sign that the statement claims.
    """
    intervals = {key: student_interval(list(by_seed.values())) for key, by_seed in differences.items()}
    pooled = student_interval(list(pool([by_seed for by_seed in differences.values() if by_seed]).values()))
    sides = {key: interval.sign * favoured_sign for key, interval in intervals.items() if interval.num}
    decisions: dict[CellKey, Decision] = {
        key: DECISION_OF_CELL[sides[key]] if key in sides else "not run" for key in intervals
    }
    against = [key for key, side in sides.items() if side < 0]
    count = because("sides", num=sum(side > 0 for side in sides.values()), num_cells=len(sides), against=against)
    side = pooled.sign * favoured_sign
    if side > 0 and not against:
        return Decided("supported", [count], pooled, intervals, decisions)
    if side < 0:
        return Decided("contradicted", [because("pooled_opposite"), count], pooled, intervals, decisions)
    why = because("cells_disagree") if side > 0 else _why_undecided(pooled)
    needed = num_runs_needed(pooled.mean, pooled.std) if side == 0 else None
    return Decided("inconclusive", [why, count], pooled, intervals, decisions, needed)


def side_of_range(low: float, high: float, least: float, most: float) -> Decision:
    """Whether an interval lies within [least, most] (`supported`), outside (`contradicted`), or across, or is NaN."""
    if least <= low and high <= most:
        return "supported"
    return "contradicted" if low > most or high < least else "inconclusive"


def side_of_margin(effect: float, low: float, high: float, margin: float) -> Decision:
    """Whether an effect in percent lies within ±margin (`supported`), beyond it (`contradicted`), or across.

    Without an interval, in percent too, the effect itself counts; without an effect it is "not run". The margin is a
    share, such as 0.02.
    """
    if math.isnan(effect):
        return "not run"
    low, high = (effect, effect) if math.isnan(low) else (low, high)
    return side_of_range(low, high, -100 * margin, 100 * margin)


def _why_undecided(pooled: Interval) -> Reason:
    if pooled.num < 2:
        return because("too_few_seeds", num=pooled.num)
    if math.isnan(pooled.low):
        return because("equal_differences", num=pooled.num)
    return because("pooled_covers_0")
