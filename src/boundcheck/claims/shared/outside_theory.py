"""Cells that a theorem gives no bound for, with the reason that their model gives."""

from __future__ import annotations

from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.selection import CELL, CellKey, cells_of
from boundcheck.verdicts import Tables


def reasons_without_bound(tables: Tables, check: str) -> dict[CellKey, str]:
    """Why cells without any bound in the rows of a check have none: what their model says as `outside_theory`."""
    rows, cells = tables.checks[tables.checks["check"] == check], cells_of(tables.runs)
    bounded = rows["bound"].notna().groupby([rows[key] for key in CELL]).any()
    reasons = {cell: getattr(model_of(cells[cell]), "outside_theory", None) for cell in bounded.index[~bounded]}
    return {cell: reason for cell, reason in reasons.items() if reason is not None}
