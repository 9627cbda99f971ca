"""Claims that compare cells with their baselines: a number is lower, higher, or the same, at equal seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from statistics import fmean
from typing import Any, ClassVar

from boundcheck.claims.shared.baselines import Pair, SelectsPairs
from boundcheck.claims.shared.compared import Compared, compare
from boundcheck.claims.shared.comparison_figures import comparison_figures
from boundcheck.claims.shared.decision import Decided, Differences, decide_sign, side_of_margin
from boundcheck.claims.shared.selection import CellKey, cells_of, rows_of
from boundcheck.claims.shared.shortfall import heard
from boundcheck.claims.shared.statistics import Interval
from boundcheck.claims.shared.values import At, Source, UndecidableError, absent_runs
from boundcheck.contracts import NAN
from boundcheck.settings import Positive, ShareBelowOne, settings
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because


@settings(kw_only=True)
class Comparison(SelectsPairs):
    """What the kinds of comparisons share.

    Each selected cell gives one difference per seed to its baseline, or the logarithm of their ratio. Diverged runs
    are counted, never averaged. Models of different names get different initial weights, so their pairs share nothing
    but the number of the seed.

    Args:
        quantity: a quantity of the curves or the measurements.
        baseline_quantity: the quantity of the baseline, if it has another name.
        baseline_value: a number that the quantity is compared with, in place of a baseline.
        source: the table that has the quantity.
        at: "last" or "best" recorded value of each run, or an epoch.
        relative: compare logarithms, and report the effect as a change in percent.
        unit: the unit of the effect, where it is not relative.
        scale: what values are multiplied by (100: accuracies in points), where the effect is not relative.
        coordinate: which coordinate (a radius, say), where the quantity has several.
        analysis: whose measurements, where several analyses measure the quantity.
        until_level: compare the numbers of steps after which the quantity is first at or below this level, which may
            be given by kind of dataset. A run that never gets there counts as its last step.
        until_share: as `until_level`, with this share of the first value of each run as its level. A pair is left out
            where neither run gets there.
        at_equal_loss: compare at one training loss: the lowest that the baseline and all cells compared with it reach.
            Between two evaluations the quantity is interpolated linearly in the loss.
        loss_at_most: the largest training loss at which cells are compared; above it the result is `inconclusive`,
            since what was hardly trained shows no difference.
        show: other quantities of the measurements, each with the name of its coordinate, over which it is drawn at the
            last snapshot.
    """

    quantity: str
    baseline_quantity: str | None = None
    baseline_value: float | None = None
    source: Source = "curves"
    at: At = "last"
    relative: bool = False
    unit: str = ""
    scale: Positive = 1.0
    coordinate: float | None = None
    analysis: str | None = None
    until_level: float | Mapping[str, float] | None = None
    until_share: ShareBelowOne | None = None
    at_equal_loss: bool = False
    loss_at_most: Positive | None = None
    show: Mapping[str, str] = field(default_factory=dict)

    favoured_sign: ClassVar[int]

    def __post_init__(self) -> None:
        if self.relative and (self.scale != 1 or self.unit):
            raise ValueError("relative: got scale or unit beside it; allowed: neither, the effect is in percent")
        if self.at_equal_loss and (self.at != "last" or self.baseline_quantity or self.counts_steps):
            raise ValueError(
                "at_equal_loss: got at, baseline_quantity, until_level or until_share; allowed: none of them"
            )
        if self.counts_steps and self.source != "curves":
            raise ValueError(f"source: got {self.source!r}; allowed: curves, where steps are counted")
        has_baseline = not (self.baseline == self.baseline_model == "same" and self.baseline_quantity is None)
        if has_baseline == (self.baseline_value is not None):
            got = "a baseline_value beside it" if has_baseline else "none"
            allowed = "a baseline, baseline_model, baseline_quantity or baseline_value"
            raise ValueError(f"baseline: got {got}; allowed: {allowed}")

    def decide(self, tables: Tables) -> Verdict:
        """Compare every selected cell with its baseline."""
        try:
            pairs = self.pairs(cells_of(tables.runs))
            if not pairs:
                return self._not_run([because("no_cell")], tables)
            compared = compare(tables, pairs, self)
        except UndecidableError as problem:
            return self._not_run([problem.reason], tables)
        differences = self.differences(compared)
        if not any(differences.values()):
            return self._without_pairs(compared)
        decided = heard(self, compared, self.decided(differences))
        if compared.losses is not None:
            decided = self._where_trained(decided, compared)
        shown = [pair for pair in pairs if self.baseline_value is None or differences[pair.cell]]
        evidence = [self._evidence(pair, compared, decided) for pair in shown]
        pooled = self.effect(decided.pooled)
        return Verdict(
            decided.decision,
            [*decided.reasons, *compared.reasons, *absent_runs(compared.tables.runs)],
            **pooled.as_effect(self.effect_unit),
            num_runs_needed=decided.num_runs_needed,
            cells=evidence,
            figures=self.figures(compared, [*evidence, {"method": "pooled", **pooled.as_evidence()}]),
        )

    @property
    def counts_steps(self) -> bool:
        """Whether numbers of steps are compared."""
        return self.until_level is not None or self.until_share is not None

    @property
    def effect_unit(self) -> str:
        """The unit of the effect."""
        return "%" if self.relative else "steps" if self.counts_steps else self.unit

    def decided(self, differences: Differences) -> Decided:
        """What the differences, in logarithms where the claim is relative, say."""
        return decide_sign(differences, self.favoured_sign)

    def differences(self, compared: Compared) -> dict[CellKey, dict[int, float]]:
        """By cell and seed."""
        return {pair.cell: self._differences(pair, compared) for pair in compared.pairs}

    def figures(self, compared: Compared, evidence: Sequence[Mapping[str, Any]]) -> list[Figure]:
        """The intervals, the course of the quantity, and what is shown besides; `evidence` ends with the pooled row."""
        return comparison_figures(compared, self, evidence)

    def _differences(self, pair: Pair, compared: Compared) -> dict[int, float]:
        """By seed; in logarithms a pair with a value ≤ 0 has none and is left out."""
        values = compared.common_seeds(pair)
        if self.relative:
            return {s: math.log(value / base) for s, (value, base) in values.items() if value > 0 and base > 0}
        return {seed: self.scale * (value - base) for seed, (value, base) in values.items()}

    def effect(self, of: Interval) -> Interval:
        """The interval of differences in the unit of the effect."""
        mean, low, high = (100 * math.expm1(end) if self.relative else end for end in of[:3])
        return of._replace(mean=mean, low=low, high=high)

    def _evidence(self, pair: Pair, compared: Compared, decided: Decided) -> dict[str, Any]:
        interval, values = decided.intervals[pair.cell], compared.common_seeds(pair).values()
        row = {
            **dict(zip(("dataset", "model", "method"), pair.cell, strict=True)),
            "baseline": pair.baseline_name or self.baseline_quantity or self.baseline_value,
            "value": self.scale * _mean([value for value, _ in values]),
            "value of baseline": self.scale * _mean([base for _, base in values]),
            **self.effect(interval).as_evidence(),
            "diverged": compared.num_diverged(pair),
            "decision": decided.decisions[pair.cell],
        }
        return row if compared.losses is None else {**row, "training loss": _training_loss(pair, compared)}

    def _where_trained(self, decided: Decided, compared: Compared) -> Decided:
        """Undecided where the larger training loss of a pair is above `loss_at_most`, or unknown."""
        limit = math.inf if self.loss_at_most is None else self.loss_at_most
        losses = {pair.cell: _training_loss(pair, compared) for pair in compared.pairs}
        decisions = dict(decided.decisions)
        above = {key: loss for key, loss in losses.items() if decided.intervals[key].num and not loss <= limit}
        if not above:
            return decided
        reason = because("hardly_trained", losses=[[*key, loss] for key, loss in above.items()], limit=limit)
        decisions |= dict.fromkeys(above, "inconclusive")
        return decided._replace(decision="inconclusive", reasons=[reason, *decided.reasons], decisions=decisions)

    def _without_pairs(self, compared: Compared) -> Verdict:
        """No pair is left: a result where runs diverged, "not run" where they or their numbers were never made."""
        runs = compared.tables.runs
        if not any(pair.baseline for pair in compared.pairs):
            return self._not_run([because("no_baseline", wanted=self.wanted())], compared.tables)
        done = runs[runs["status"] == "done"]
        seeds = [[set(rows_of(done, [key])["seed"]) for key in pair.cells] for pair in compared.pairs if pair.baseline]
        if any(set.intersection(*of_pair) for of_pair in seeds):
            return self._not_run([because("no_values", quantity=self.quantity)], compared.tables)
        if (runs["status"] == "missing").any():
            return self._not_run(absent_runs(runs), compared.tables)
        return Verdict("inconclusive", [because("no_pair_left"), *absent_runs(runs)])

    def _not_run(self, reasons: Sequence[Reason], tables: Tables) -> Verdict:
        skipped = sorted(tables.skipped["reason"].unique())
        return Verdict("not run", [*reasons, *([because("skipped", why=skipped)] if skipped else [])])


@settings(kw_only=True)
class LowerValue(Comparison):
    """The quantity is lower than the baseline's."""

    favoured_sign: ClassVar[int] = -1


@settings(kw_only=True)
class HigherValue(Comparison):
    """The quantity is higher than the baseline's."""

    favoured_sign: ClassVar[int] = 1


@settings(kw_only=True)
class SimilarValue(Comparison):
    """The ratio to the baseline lies within `margin` of 1; effects are in percent.

    `supported` where the 95% interval of the pooled logarithms lies within the margin, `contradicted` where it lies
    outside, else `inconclusive`. It is `inconclusive` also where the pooled interval lies within, but that of one cell
    outside. Where all seeds give the same ratio to nine digits, the ratio itself decides.

    Args:
        margin: of the ratio, such as 0.02.
    """

    margin: ShareBelowOne
    relative: bool = True

    favoured_sign: ClassVar[int] = -1

    def decided(self, differences: Differences) -> Decided:
        """Whether the intervals, in percent, lie within the margin."""
        plain = decide_sign(differences, self.favoured_sign)
        decisions = {key: self._side(interval) for key, interval in plain.intervals.items()}
        decision = self._side(plain.pooled)
        if math.isnan(plain.pooled.mean):
            return plain
        if decision == "supported" and "contradicted" in decisions.values():
            decision = "inconclusive"
        reason = because("margin", effect=self.effect(plain.pooled).mean, margin=100 * self.margin)
        return Decided(decision, [reason], plain.pooled, plain.intervals, decisions)

    def _side(self, interval: Interval) -> Decision:
        return side_of_margin(*self.effect(interval)[:3], self.margin)


def _training_loss(pair: Pair, compared: Compared) -> float:
    """The larger of the two mean training losses of a pair; NaN where one is unknown."""
    by_cell = compared.losses or {}
    means = [fmean(by_cell.get(key, {0: NAN}).values()) for key in pair.cells]
    return NAN if any(map(math.isnan, means)) else max(means)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else NAN
