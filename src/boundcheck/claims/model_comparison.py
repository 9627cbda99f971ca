"""Claims that compare models: a number is lower, or higher, than another model's at equal dataset, method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from boundcheck.claims.comparison import HigherValue, LowerValue
from boundcheck.claims.figures import in_words
from boundcheck.claims.pairs import At, quantity_rows, run_values
from boundcheck.contracts import NAN
from boundcheck.verdicts import Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

SWAPPED = {"model": "method", "method": "model"}


@dataclass(frozen=True)
class _ModelComparison:
    """A comparison of methods with the parts of models and methods exchanged; see `claims.comparison`.

    Models of different names start from different draws, so that pairs share the seed's number and no more.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: a quantity of the curves or the measurements.
        models: names of models; patterns are allowed.
        baseline_model: the model that they are compared with.
        only_methods: methods for which they are compared.
        at_equal: a quantity of the curves, such as the training loss: where its means differ by more than `within`, at
            the same point, comparing two models decides nothing; none: any may differ.
        within: in percent of the baseline's.
        source, at, relative, unit, scale, analysis, paper_value: as for comparisons of methods.
    """

    statement: str
    reference: str
    quantity: str
    models: Sequence[str]
    baseline_model: str
    only_methods: Sequence[str] = ()
    at_equal: str | None = None
    within: float = 1.0
    source: str = "curves"
    at: At = "last"
    relative: bool = False
    unit: str = ""
    scale: float = 1.0
    analysis: str | None = None
    paper_value: str = "not available"

    comparison: ClassVar[type[LowerValue] | type[HigherValue]]

    def __post_init__(self) -> None:
        if not self.within >= 0:
            raise ValueError(f"within: got {self.within}; allowed: >= 0")
        self._between_methods()

    def decide(self, tables: Tables) -> Verdict:
        """Compare every planned model that matches with the baseline of its dataset and method."""
        if self.only_methods:
            kept: dict[str, Any] = {
                name: part[part["method"].isin(self.only_methods)] for name, part in _frames(tables).items()
            }
            tables = tables._replace(**kept)
        swapped: dict[str, Any] = {name: _swap(part) for name, part in _frames(tables).items()}
        verdict = self._between_methods().decide(tables._replace(**swapped))
        cells = [{SWAPPED.get(key, key): value for key, value in cell.items()} for cell in verdict.cells]
        verdict = replace(verdict, cells=cells)
        return verdict if self.at_equal is None else self._where_equal(self.at_equal, verdict, tables)

    def _where_equal(self, quantity: str, verdict: Verdict, tables: Tables) -> Verdict:
        """The verdict, undecided where the models of a cell differ in the quantity too, with their differences."""
        rows = quantity_rows(tables, "curves", quantity, list(tables.runs["method"].unique()))
        means: dict[tuple[str, ...], list[float]] = {}
        for key, value in run_values(rows, tables.runs, self.at, higher_is_better=False).items():
            means.setdefault(key[:3], []).append(value)
        name, cells, unequal = in_words(quantity), [], []
        for cell in verdict.cells:
            pair = [
                means.get((cell["dataset"], m, cell["method"]), [NAN]) for m in (cell["model"], self.baseline_model)
            ]
            value, base = map(fmean, pair)
            change = 100 * (value / base - 1) if base else NAN
            if not abs(change) <= self.within:
                unequal.append(f"{cell['dataset']}/{cell['method']}/{cell['model']} by {change:+.2g} %")
                cell = {**cell, "decision": "inconclusive"}
            cells.append({**cell, f"{name} (%)": change})
        if not unequal or verdict.decision not in ("supported", "contradicted"):
            return replace(verdict, cells=cells)
        reason = f"not compared at equal {name}: it differs in {', '.join(unequal)}, more than {self.within:g} %"
        return replace(verdict, decision="inconclusive", reason=f"{reason}; {verdict.reason}", cells=cells)

    def _between_methods(self) -> LowerValue | HigherValue:
        own = ("models", "baseline_model", "only_methods", "at_equal", "within")
        common: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        return self.comparison(methods=self.models, baseline=self.baseline_model, **common)


@dataclass(frozen=True)
class LowerModelValue(_ModelComparison):
    """The quantity is lower than the baseline model's."""

    comparison: ClassVar[type[LowerValue] | type[HigherValue]] = LowerValue


@dataclass(frozen=True)
class HigherModelValue(_ModelComparison):
    """The quantity is higher than the baseline model's."""

    comparison: ClassVar[type[LowerValue] | type[HigherValue]] = HigherValue


def _swap(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=SWAPPED)


def _frames(tables: Tables) -> dict[str, pd.DataFrame]:
    """The tables that have models and methods."""
    return {name: part for name, part in tables._asdict().items() if "method" in getattr(part, "columns", ())}
