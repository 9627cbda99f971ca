"""Cells that a theorem gives no bound for, with the reason that their architecture gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boundcheck.models import MODELS
from boundcheck.registry import build
from boundcheck.verdicts import Tables

CELL = ("dataset", "model", "method")


def reasons_without_bound(tables: Tables, check: str) -> dict[tuple[str, ...], str]:
    """Why cells whose rows of a check have no bound at all have none: what their model says as `outside_theory`."""
    rows = tables.checks[tables.checks["check"] == check]
    bounded = rows["bound"].notna().groupby([rows[key] for key in CELL]).any()
    specs = dict(zip(tables.runs["model"], tables.runs["model_spec"], strict=True))
    reasons = {}
    for cell in bounded.index[~bounded]:
        settings = {key: value for key, value in specs[cell[1]].items() if key != "name"}
        reason = getattr(build(MODELS, settings), "outside_theory", None) if settings["kind"] in MODELS else None
        if reason is not None:
            reasons[cell] = reason
    return reasons


def with_reasons(
    cells: Sequence[Mapping[str, Any]], reasons: Mapping[tuple[str, ...], str]
) -> tuple[list[Mapping[str, Any]], str]:
    """The evidence of a theorem, and in words which cells it does not apply to: those with a reason.

    Instead of a row for each inequality such a cell has one, "not run", with the reason.

    Args:
        cells: rows of `TheoremHolds`' evidence, one for each cell and inequality.
        reasons: by dataset, model and method.
    """
    found = [row for row in cells if _cell(row) not in reasons]
    models: dict[str, list[str]] = {}
    for cell, reason in reasons.items():
        found.append(
            {**dict(zip(CELL, cell, strict=True)), "premise holds": 0, "decision": "not run", "not applicable": reason}
        )
        names = models.setdefault(reason, [])
        names.extend([cell[1]] if cell[1] not in names else [])
    return found, "; ".join(f"not applicable to {', '.join(names)}: {reason}" for reason, names in models.items())


def _cell(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[key] for key in CELL)
