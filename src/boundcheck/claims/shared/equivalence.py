"""The claim that two methods come to the same: their ratio lies within a margin of 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from boundcheck.claims.shared.comparison import LowerValue
from boundcheck.claims.shared.pairs import At
from boundcheck.verdicts import Decision, Tables, Verdict


def side_of_margin(effect: float, low: float, high: float, margin: float) -> str:
    """Where an effect in percent lies: its interval within the margin of 0 (`supported`), outside it, or across.

    Without an interval the effect itself counts; without an effect it is "not run".
    """
    if math.isnan(effect):
        return "not run"
    low, high = (effect, effect) if math.isnan(low) else (low, high)
    if max(abs(low), abs(high)) <= 100 * margin:
        return "supported"
    return "contradicted" if low > 100 * margin or high < -100 * margin else "inconclusive"


@dataclass(frozen=True)
class SimilarValue:
    """Each cell's mean ratio to the baseline lies within `margin` of 1, with its 95% interval over seeds.

    `supported` where the interval of the pooled logarithms lies within the margin, `contradicted` where it lies
    outside, else `inconclusive`. Where all seeds give one ratio to nine digits the ratio itself decides.

    Args:
        statement: what the paper, or its theory, states.
        reference: where it does.
        quantity: a positive quantity of the curves or the measurements.
        methods: names of methods; patterns are allowed.
        baseline: the method that they are compared with.
        margin: of the ratio, such as 0.02.
        source: "curves" or "measurements".
        at: "last" or "best" recorded value of each run, or an epoch.
        paper_value: the paper's own figure, where one is sourced.
    """

    statement: str
    reference: str
    quantity: str
    methods: Sequence[str]
    baseline: str
    margin: float
    source: str = "curves"
    at: At = "last"
    paper_value: str = "not available"

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ValueError(f"margin: got {self.margin}; allowed: in (0, 1)")
        self._comparison()

    def decide(self, tables: Tables) -> Verdict:
        """Compare the intervals of a comparison with the margin."""
        verdict = self._comparison().decide(tables)
        if not verdict.cells or math.isnan(verdict.effect):
            return verdict
        cells = [{**cell, "decision": self._side(cell)} for cell in verdict.cells]
        decision = self._side({"effect": verdict.effect, "low": verdict.low, "high": verdict.high})
        if decision == "supported" and any(cell["decision"] == "contradicted" for cell in cells):
            decision = "inconclusive"
        percent = f"{100 * self.margin:g}%"
        reason = f"{verdict.effect:+.3g}% from {self.baseline}, allowed ±{percent}"
        return replace(verdict, decision=cast(Decision, decision), reason=reason, cells=cells, num_runs_needed=None)

    def _side(self, row: Mapping[str, Any]) -> str:
        return side_of_margin(row["effect"], row["low"], row["high"], self.margin)

    def _comparison(self) -> LowerValue:
        return LowerValue(
            statement=self.statement,
            reference=self.reference,
            quantity=self.quantity,
            methods=self.methods,
            baseline=self.baseline,
            source=self.source,
            at=self.at,
            relative=True,
            paper_value=self.paper_value,
        )
