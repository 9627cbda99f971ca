"""Claims that compare methods: a number is lower, or higher, than the baseline's at equal dataset, model and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from boundcheck.claims.shared.decision import SignDecision, decide_sign
from boundcheck.claims.shared.figures import coordinate_figure, curve_figure, in_words, interval_figure
from boundcheck.claims.shared.pairs import (
    AmbiguousValueError,
    At,
    Cell,
    absences,
    matching,
    paired_cells,
    quantity_rows,
    run_values,
)
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

SOURCES = ("curves", "measurements")


@dataclass(frozen=True)
class _Comparison:
    """What both kinds are made of.

    Each cell (dataset, model, method) gives one difference per seed, method − baseline or the log of their ratio;
    `decision.decide_sign` says how they decide. Diverged runs are counted, never averaged.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: a quantity of the curves or the measurements.
        methods: names of methods; the patterns of fnmatch (`gam_*`) are allowed.
        baseline: the method that they are compared with.
        source: "curves" or "measurements".
        at: "last" or "best" recorded value of each run, or an epoch.
        relative: compare logarithms, and report the effect as a change in percent.
        unit: the unit of the effect, where it is not relative.
        scale: what values are multiplied by (100: accuracies in points), where the effect is not relative.
        coordinate: which coordinate (a radius, say), where the quantity has several.
        analysis: whose measurements, where several analyses measure the quantity.
        paper_value: the paper's own figure, where one is sourced.
        show: other quantities of the measurements, each with the name of its coordinate, over which it is drawn at the
            last snapshot.
    """

    statement: str
    reference: str
    quantity: str
    methods: Sequence[str]
    baseline: str
    source: str = "curves"
    at: At = "last"
    relative: bool = False
    unit: str = ""
    scale: float = 1.0
    coordinate: float | None = None
    analysis: str | None = None
    paper_value: str = "not available"
    show: Mapping[str, str] = field(default_factory=dict)

    favoured_sign: ClassVar[int]

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source: got {self.source!r}; allowed: {', '.join(SOURCES)}")
        if isinstance(self.at, str) and self.at not in ("last", "best"):
            raise ValueError(f"at: got {self.at!r}; allowed: last, best, or an epoch")
        if isinstance(self.methods, str) or not self.methods:
            raise ValueError(f"methods: got {self.methods!r}; allowed: a list of names, at least one")
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise ValueError(f"scale: got {self.scale}; allowed: > 0")
        if not isinstance(self.show, Mapping):
            raise ValueError(f"show: got {self.show!r}; allowed: a mapping of a quantity to the name of its coordinate")
        if self.relative and (self.scale != 1 or self.unit):
            raise ValueError("relative: got scale or unit beside it; allowed: neither, the effect is in percent")

    def decide(self, tables: Tables) -> Verdict:
        """Compare every planned method that matches with the baseline of its dataset and model."""
        methods = matching(list(tables.runs["method"].unique()), self.methods, self.baseline)
        if not methods:
            return self._not_run(f"no run of {', '.join(self.methods)} is planned", tables)
        runs = tables.runs[tables.runs["method"].isin([*methods, self.baseline])]
        rows = self._rows(tables, [*methods, self.baseline])
        try:
            values = run_values(rows, runs, self.at, self.favoured_sign > 0)
        except AmbiguousValueError as ambiguous:
            return self._not_run(f"{self.quantity}: {ambiguous}", tables)
        cells = paired_cells(values, runs, methods, self.baseline)
        differences = {cell.name: self._differences(cell) for cell in cells}
        if not any(differences.values()):
            return self._without_pairs(cells, runs, tables)
        relation = f"{'higher' if self.favoured_sign > 0 else 'lower'} than {self.baseline}"
        verdict = self._verdict(decide_sign(differences, self.favoured_sign, relation), cells, rows, runs)
        shown = [self._shown(*named, tables, [*methods, self.baseline]) for named in self.show.items()]
        return replace(verdict, figures=[*verdict.figures, *filter(None, shown)])

    def _shown(self, name: str, coordinate: str, tables: Tables, methods: Sequence[str]) -> Figure | None:
        rows = quantity_rows(tables, "measurements", name, methods)
        return coordinate_figure(rows, tables.runs, in_words(name), coordinate)

    def _rows(self, tables: Tables, methods: Sequence[str]) -> pd.DataFrame:
        return quantity_rows(tables, self.source, self.quantity, methods, self.analysis, self.coordinate)

    def _differences(self, cell: Cell) -> dict[int, float]:
        """By seed; in logarithms a pair with a value ≤ 0 has none and is left out."""
        pairs = {seed: (cell.values[seed], cell.baseline_values[seed]) for seed in cell.seeds}
        if self.relative:
            return {seed: math.log(value / base) for seed, (value, base) in pairs.items() if value > 0 and base > 0}
        return {seed: self.scale * (value - base) for seed, (value, base) in pairs.items()}

    def _effect(self, difference: float) -> float:
        return 100 * math.expm1(difference) if self.relative else difference

    def _verdict(self, decided: SignDecision, cells: Sequence[Cell], rows: pd.DataFrame, runs: pd.DataFrame) -> Verdict:
        evidence = [self._evidence(cell, decided) for cell in cells]
        mean, low, high = (self._effect(v) for v in (decided.pooled.mean, decided.pooled.low, decided.pooled.high))
        pooled = {"method": "pooled", "effect": mean, "low": low, "high": high}
        return Verdict(
            decided.decision,
            "; ".join(filter(None, (decided.reason, absences(runs)))),
            mean,
            low,
            high,
            unit=self._unit,
            num_runs=decided.pooled.num,
            num_runs_needed=decided.num_runs_needed,
            paper_value=self.paper_value,
            cells=evidence,
            figures=self._figures(evidence, pooled, rows, runs),
        )

    @property
    def _unit(self) -> str:
        return "%" if self.relative else self.unit

    def _evidence(self, cell: Cell, decided: SignDecision) -> dict[str, Any]:
        interval = decided.cells[cell.name]
        return {
            "dataset": cell.dataset,
            "model": cell.model,
            "method": cell.method,
            "value": self.scale * _mean([cell.values[seed] for seed in cell.seeds]),
            f"value of {self.baseline}": self.scale * _mean([cell.baseline_values[seed] for seed in cell.seeds]),
            "effect": self._effect(interval.mean),
            "low": self._effect(interval.low),
            "high": self._effect(interval.high),
            "n": interval.num,
            "diverged": cell.num_diverged,
            "decision": decided.of_cell(cell.name, self.favoured_sign),
        }

    def _figures(
        self, evidence: Sequence[dict[str, Any]], pooled: dict[str, Any], rows: pd.DataFrame, runs: pd.DataFrame
    ) -> list[Figure]:
        name = in_words(self.quantity)
        when = f"{self.at} value of each run" if isinstance(self.at, str) else f"epoch {self.at:g}"
        label = f"{name}: difference from {self.baseline}" + (f" ({self._unit})" if self._unit else "")
        caption = f"Difference of {name} from {self.baseline}, {when}: mean over paired seeds and its 95% interval."
        compared = {(row["dataset"], row["model"]) for row in evidence if row["n"]}
        beside = [cell in compared for cell in zip(runs["dataset"], runs["model"], strict=True)]
        curves = curve_figure(rows, runs[beside], name)
        return [interval_figure([*evidence, pooled], label, caption), *([] if curves is None else [curves])]

    def _without_pairs(self, cells: Sequence[Cell], runs: pd.DataFrame, tables: Tables) -> Verdict:
        """No pair is left: a result where runs diverged, "not run" where they or their numbers were never made."""
        if not any(cell.has_baseline for cell in cells):
            return self._not_run(f"{self.baseline} is planned nowhere beside {', '.join(self.methods)}", tables)
        done = runs[runs["status"] == "done"]
        is_baseline = done["method"] == self.baseline
        finished = done[~is_baseline].merge(done[is_baseline], on=["dataset", "model", "seed"])
        if len(finished):
            return self._not_run(f"no pair of finished runs has a {self.quantity} to compare", tables)
        if (runs["status"] == "missing").any():
            return self._not_run(absences(runs), tables)
        return Verdict("inconclusive", f"no pair of runs is left: {absences(runs)}", paper_value=self.paper_value)

    def _not_run(self, reason: str, tables: Tables) -> Verdict:
        names = matching(list(tables.skipped["method"].unique()), self.methods, self.baseline)
        skipped = sorted(tables.skipped.loc[tables.skipped["method"].isin(names), "reason"].unique())
        return Verdict(
            "not run", "; ".join([reason, *(f"skipped: {s}" for s in skipped)]), paper_value=self.paper_value
        )


@dataclass(frozen=True)
class LowerValue(_Comparison):
    """The quantity is lower than the baseline's."""

    favoured_sign: ClassVar[int] = -1


@dataclass(frozen=True)
class HigherValue(_Comparison):
    """The quantity is higher than the baseline's."""

    favoured_sign: ClassVar[int] = 1


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
