"""Claims that compare models: a number is lower, or higher, than another model's at equal dataset, method and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from boundcheck.claims.shared.at_loss import TRAIN, at_common_loss
from boundcheck.claims.shared.comparison import HigherValue, LowerValue
from boundcheck.claims.shared.pairs import At, RunKey, matching, quantity_rows, run_values
from boundcheck.claims.shared.rows import RUN
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
        at_equal_loss: compare, for each dataset, method and seed, at the least training loss that all of the models
            reach, the quantity being linear in the loss between two evaluations; else at the same point of training.
        loss_at_most: the largest training loss at which models are compared; above it, for what was hardly trained
            shows no difference, the result is `inconclusive`; none: any.
        source, at, relative, unit, scale, analysis, paper_value: as for comparisons of methods.
    """

    statement: str
    reference: str
    quantity: str
    models: Sequence[str]
    baseline_model: str
    only_methods: Sequence[str] = ()
    at_equal_loss: bool = False
    loss_at_most: float | None = None
    source: str = "curves"
    at: At = "last"
    relative: bool = False
    unit: str = ""
    scale: float = 1.0
    analysis: str | None = None
    paper_value: str = "not available"

    comparison: ClassVar[type[LowerValue] | type[HigherValue]]

    def __post_init__(self) -> None:
        if self.loss_at_most is not None and not self.loss_at_most > 0:
            raise ValueError(f"loss_at_most: got {self.loss_at_most}; allowed: > 0, or none")
        if self.at_equal_loss and self.at != "last":
            raise ValueError(f"at: got {self.at!r}; allowed: last, beside at_equal_loss")
        self._between_methods()

    def decide(self, tables: Tables) -> Verdict:
        """Compare every planned model that matches with the baseline of its dataset and method."""
        if self.only_methods:
            kept: dict[str, Any] = {
                name: part[part["method"].isin(self.only_methods)] for name, part in _frames(tables).items()
            }
            tables = tables._replace(**kept)
        losses: dict[RunKey, float] = {}
        if self.at_equal_loss:
            tables, losses = self._at_equal_loss(tables)
        elif self.loss_at_most is not None:
            rows = quantity_rows(tables, "curves", TRAIN, list(tables.runs["method"].unique()))
            losses = run_values(rows, tables.runs, self.at, higher_is_better=False)
        swapped: dict[str, Any] = {name: _swap(part) for name, part in _frames(tables).items()}
        verdict = self._between_methods().decide(tables._replace(**swapped))
        cells = [{SWAPPED.get(key, key): value for key, value in cell.items()} for cell in verdict.cells]
        verdict = replace(verdict, cells=cells)
        if self.at_equal_loss and verdict.figures:
            interval = verdict.figures[0]  # one point per run is no course to draw
            caption = interval.caption.replace("last value of each run", "at equal training loss")
            verdict = replace(verdict, figures=[replace(interval, caption=caption)])
        with_loss = self.at_equal_loss or self.loss_at_most is not None
        return self._where_learned(verdict, losses) if with_loss else verdict

    def _where_learned(self, verdict: Verdict, losses: Mapping[RunKey, float]) -> Verdict:
        """The verdict with the larger training loss of each pair, undecided where that is above `loss_at_most`."""
        means: dict[tuple[str, ...], list[float]] = {}
        for key, value in losses.items():
            means.setdefault(key[:3], []).append(value)
        limit = math.inf if self.loss_at_most is None else self.loss_at_most
        cells, above = [], []
        for cell in verdict.cells:
            pair = [(cell["dataset"], name, cell["method"]) for name in (cell["model"], self.baseline_model)]
            loss = float(np.max([fmean(means.get(key, [NAN])) for key in pair]))
            if cell["n"] and not loss <= limit:
                above.append(f"{loss:.3g} on {cell['dataset']}/{cell['method']}/{cell['model']}")
                cell = {**cell, "decision": "inconclusive"}
            cells.append({**cell, "training loss": loss})
        if not above:
            return replace(verdict, cells=cells)
        reason = f"hardly trained: the training loss is {', '.join(above)}, above {limit:g}"
        return replace(verdict, decision="inconclusive", reason=f"{reason}; {verdict.reason}", cells=cells)

    def _at_equal_loss(self, tables: Tables) -> tuple[Tables, dict[RunKey, float]]:
        """The tables with one value per run, where training losses are equal, and those losses."""
        rows = quantity_rows(tables, self.source, self.quantity, list(tables.runs["method"].unique()), self.analysis)
        rows = rows[rows["model"].isin(matching(list(rows["model"].unique()), [*self.models, self.baseline_model]))]
        if rows.duplicated([*RUN, "step"]).any():
            return tables, {}  # the comparison says so
        found = at_common_loss(rows, tables.curves, tables.runs)
        losses = {(d, m, method, int(seed)): level for d, m, method, seed, level in found[[*RUN, "level"]].to_numpy()}
        own: dict[str, Any] = {self.source: found.drop(columns="level")}
        return tables._replace(**own), losses

    def _between_methods(self) -> LowerValue | HigherValue:
        own = ("models", "baseline_model", "only_methods", "at_equal_loss", "loss_at_most")
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
