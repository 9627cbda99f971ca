"""The claim that row norms never fall, with the course of their distribution."""

from __future__ import annotations

import pandas as pd

from boundcheck.claims.shared.bound_sweep import MAX_PANELS, BoundSweep, drawn_rows, short_names
from boundcheck.claims.shared.figures import COLUMNS
from boundcheck.settings import settings
from boundcheck.verdicts import Figure, Tables

SERIES = {
    "row_norm_min": "least",
    "row_norm_low": "10 %",
    "row_norm_mean": "mean",
    "row_norm_high": "90 %",
}


@settings(kw_only=True)
class RowNormCourse(BoundSweep):
    """`bound_sweep` of row norms, with a figure of their least, 10 %, mean and 90 % values in each layer."""

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """As of `bound_sweep`, with the course of all row norms."""
        norms = drawn_rows(tables.curves[tables.curves["quantity"].isin(SERIES)], tables.runs, self.shown)
        return [*super().figures(tables, rows), *([_course(norms)] if len(norms) else [])]


def _course(rows: pd.DataFrame) -> Figure:
    panel = short_names(rows) + ", l = " + rows["index"].astype(str)
    rows = rows.assign(panel=panel, series=rows["quantity"].map(SERIES))
    panels = sorted(set(panel))[:MAX_PANELS]
    groups = rows[rows["panel"].isin(panels)].groupby(["panel", "series", "epoch"])["value"]
    data = groups.agg(["mean", "min", "max"]).reset_index()
    data = data.rename(columns={"epoch": "x", "mean": "y", "min": "low", "max": "high"}).assign(role="measured")
    caption = "Norms of the rows of layer l during training: their least, 10 %, mean and 90 % value, means over seeds."
    return Figure(data[list(COLUMNS)], "line", "epoch", "row norm", caption)
