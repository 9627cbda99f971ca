"""The claim that row norms never fall, with the course of their distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from boundcheck.claims.shared.bound_sweep import BoundSweep, short_names
from boundcheck.claims.shared.figures import COLUMNS
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

MAX_PANELS = 12
SERIES = {
    "row_norm_min": "least",
    "row_norm_low": "10 %",
    "row_norm_mean": "mean",
    "row_norm_high": "90 %",
}


@dataclass(frozen=True)
class RowNormCourse(BoundSweep):
    """`bound_sweep` of row norms, with a figure of their least, 10 %, mean and 90 % values in each layer."""

    def decide(self, tables: Tables) -> Verdict:
        """As `bound_sweep`, with one figure more."""
        verdict = super().decide(tables)
        figure = self._course(tables.curves)
        return replace(verdict, figures=[*verdict.figures, figure] if figure else verdict.figures)

    def _course(self, curves: pd.DataFrame) -> Figure | None:
        rows = curves[curves["quantity"].isin(SERIES)]
        rows = rows[self.is_shown(rows)]
        if not len(rows):
            return None
        layer = ", l = " + rows["index"].astype(str)
        rows = rows.assign(panel=short_names(rows) + layer, series=rows["quantity"].map(SERIES))
        panels = sorted(set(rows["panel"]))[:MAX_PANELS]
        groups = rows[rows["panel"].isin(panels)].groupby(["panel", "series", "epoch"])["value"]
        data = groups.agg(["mean", "min", "max"]).reset_index()
        data = data.rename(columns={"epoch": "x", "mean": "y", "min": "low", "max": "high"}).assign(role="measured")
        caption = (
            "Norms of the rows of layer l during training: their least, 10 %, mean and 90 % value, means over seeds."
        )
        return Figure(data[list(COLUMNS)], "line", "epoch", "row norm", caption)
