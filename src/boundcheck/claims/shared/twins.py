"""Claims that compare each of several models with its twin: a number is higher, or lower, at equal method and seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from boundcheck.claims.dag_momentum.pictures import NAMES, picture_figures, size_figure
from boundcheck.claims.shared.comparison import HigherValue, LowerValue
from boundcheck.claims.shared.pairs import At, matching
from boundcheck.claims.shared.steps_to_level import steps_to_share
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

SIDES: dict[str, type[LowerValue] | type[HigherValue]] = {"higher": HigherValue, "lower": LowerValue}


@dataclass(frozen=True)
class TwinValue:
    """For each pair of models, the quantity of the first is higher, or lower, than that of its twin.

    A pair (dataset, first, method) is a cell with one difference per seed; `decision.decide_sign` says how they decide.
    Models of different names start from different draws, so that pairs share the seed's number and no more.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: a quantity of the curves or the measurements.
        twins: the twin of each model, by name; `self` compares with `twin_quantity` of the same run.
        side: "higher" or "lower".
        methods: names of methods; patterns are allowed.
        twin_quantity: the quantity of the twin, if it has another name (`pca_psnr`).
        share: compare the number of steps after which the quantity is first at or below this share of its first value.
            A run that never is counts as its last step; a pair of which neither is has no difference. The reason says
            how many.
        source, at, relative, unit, analysis, paper_value: as for comparisons of methods.
        size: a measured quantity (`code_size`) against which `quantity` is drawn, for models and twins.
        pictures: whether reconstructions are shown beside the originals.
    """

    statement: str
    reference: str
    quantity: str
    twins: Mapping[str, str]
    side: str = "higher"
    methods: Sequence[str] = ("*",)
    twin_quantity: str | None = None
    share: float | None = None
    source: str = "measurements"
    at: At = "last"
    relative: bool = False
    unit: str = ""
    analysis: str | None = None
    paper_value: str = "not available"
    size: str | None = None
    pictures: bool = False

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"side: got {self.side!r}; allowed: {', '.join(SIDES)}")
        if not isinstance(self.twins, Mapping) or not self.twins:
            raise ValueError(f"twins: got {self.twins!r}; allowed: a mapping of models to their twins")
        if self.share is not None and not (self.source == "curves" and 0 < self.share < 1):
            raise ValueError(f"share: got {self.share}; allowed: none, or with source curves a number in (0, 1)")
        self._comparison()

    def decide(self, tables: Tables) -> Verdict:
        """Compare every pair of which both models are planned."""
        rows = tables.curves if self.source == "curves" else tables.measurements
        wanted = [self.quantity, self.twin_quantity or self.quantity]
        methods = matching(list(tables.runs["method"].unique()), self.methods, "")
        rows = rows[rows["quantity"].isin(wanted) & rows["method"].isin(methods)].astype({"value": "float64"})
        runs = tables.runs[tables.runs["method"].isin(methods)]
        if self.share is not None:
            rows = steps_to_share(rows, self.share)
        renamed = tables._replace(runs=self._paired(runs), skipped=tables.skipped.iloc[:0])
        paired = self._paired(rows, own=self.quantity)
        unreached = ""
        if self.share is not None:
            unreached = _unreached(paired)
            paired = paired[paired.groupby(["dataset", "model", "seed"])["reached"].transform("any")]
        is_curve = self.source == "curves"
        renamed = renamed._replace(curves=paired) if is_curve else renamed._replace(measurements=paired)
        verdict = self._comparison().decide(renamed)
        figures = [*map(self._in_its_name, verdict.figures), *self._more_figures(tables, methods)]
        if self.share is not None:
            figures = [self._about_steps(figure) for figure in figures]
        named = re.sub(r" \([^()]*\)/model\b", "", verdict.reason)  # a pair goes by its model
        reason = "; ".join(filter(None, (named, unreached)))
        return replace(verdict, reason=reason, figures=figures, cells=[self._cell(cell) for cell in verdict.cells])

    def _comparison(self) -> LowerValue | HigherValue:
        common: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("statement", "reference", "quantity", "source", "at", "relative", "analysis", "paper_value")
        }
        unit = "steps" if self.share is not None and not self.relative else self.unit
        return SIDES[self.side](methods=["model"], baseline="twin", unit=unit, **common)

    def _paired(self, frame: pd.DataFrame, own: str | None = None) -> pd.DataFrame:
        """The frame with a role (`model`, `twin`) for a method and the pair for a model; a shared twin is repeated."""
        import pandas as pd

        parts = []
        for model, twin in self.twins.items():
            for role, name in (("model", model), ("twin", model if twin == "self" else twin)):
                part = frame[frame["model"] == name]
                if own is not None:
                    wanted = own if role == "model" else self.twin_quantity or own
                    part = part[part["quantity"] == wanted].assign(quantity=own)
                label = f"{model} (" + part["method"].astype(str) + ")"  # text even where there is no row
                parts.append(part.assign(model=label, method=role))
        return pd.concat(parts, ignore_index=True)

    def _in_its_name(self, figure: Figure) -> Figure:
        """PSNR-HVS-M rather than psnr hvs m."""
        plain = self.quantity.replace("_", " ")
        texts = {key: getattr(figure, key) for key in ("x_label", "y_label", "caption")}
        name = NAMES.get(self.quantity, plain)
        return replace(figure, **{key: text.replace(plain, name) for key, text in texts.items()})

    def _about_steps(self, figure: Figure) -> Figure:
        what = f"steps until {self.quantity.replace('_', ' ')} is {self.share:.3g} of its first value"
        caption = f"Difference from the twin in {what}: mean over paired seeds and its 95% interval."
        return replace(figure, x_label=f"{what}: difference from twin", caption=caption)

    def _cell(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        model, _, method = str(cell["model"]).partition(" (")
        twin = self.twins[model]
        twin = self.twin_quantity or twin if twin == "self" else twin
        return {**cell, "model": model, "method": method.rstrip(")"), "twin": twin}

    def _more_figures(self, tables: Tables, methods: Sequence[str]) -> list[Figure]:
        names = [*self.twins, *(twin for twin in self.twins.values() if twin != "self")]
        rows = tables.measurements
        rows = rows[rows["model"].isin(names) & rows["method"].isin(methods)]
        found = []
        if self.size is not None:
            found.append(size_figure(rows, self.size, self.quantity, self.twins, self.unit))
        if self.pictures:
            found += picture_figures(rows, list(self.twins), self.twins)
        return [figure for figure in found if figure is not None]


def _unreached(paired: pd.DataFrame) -> str:
    """In words, how many runs never reach the share, and of how many pairs neither does."""
    runs = int((~paired["reached"]).sum())
    pairs = int((~paired.groupby(["dataset", "model", "seed"])["reached"].any()).sum())
    if not runs:
        return ""
    return f"{runs} runs never reach it and count as their last step; pairs of which neither does, left out: {pairs}"
