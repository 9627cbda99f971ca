"""Claims that compare models: a number is lower, or higher, than another model's at equal dataset, method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from boundcheck.claims.comparison import HigherValue, LowerValue
from boundcheck.claims.pairs import At
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
        source, at, relative, unit, scale, analysis, paper_value: as for comparisons of methods.
    """

    statement: str
    reference: str
    quantity: str
    models: Sequence[str]
    baseline_model: str
    only_methods: Sequence[str] = ()
    source: str = "curves"
    at: At = "last"
    relative: bool = False
    unit: str = ""
    scale: float = 1.0
    analysis: str | None = None
    paper_value: str = "not available"

    comparison: ClassVar[type[LowerValue] | type[HigherValue]]

    def __post_init__(self) -> None:
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
        return replace(verdict, cells=cells)

    def _between_methods(self) -> LowerValue | HigherValue:
        own = ("models", "baseline_model", "only_methods")
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
