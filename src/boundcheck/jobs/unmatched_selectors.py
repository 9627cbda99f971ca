"""Which part of a claim fits no cell of the grid, and what the cells have instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from boundcheck.claims.shared.selection import Cells, Settings, has_recorder, has_role, matches
from boundcheck.plain_text import shown
from boundcheck.setting_words import as_written

SELECTED = {"datasets": "dataset", "models": "model", "methods": "method", "training": "training"}  # field -> part
NEAREST = 5  # values that are named


def unmatched(claim: Any, cells: Cells) -> str:
    """The selectors of a claim that select none of these cells, with the nearest values of the cells; "" if all do."""
    parts = []
    for field, part in SELECTED.items():
        selector = getattr(claim, field, {})
        variants = [cell[part] for cell in cells.values()]
        if not any(matches(selector, variant) for variant in variants):
            parts.append(_unmatched_setting(field, selector, variants))
    roles, record = getattr(claim, "roles", ()), getattr(claim, "record", {})
    if roles and not any(has_role(cell, roles) for cell in cells.values()):
        known = {role for cell in cells.values() for role in cell["roles"]}
        parts.append(f"roles: wants {as_written(list(roles))}, the cells have {_nearest(roles[0], known)}")
    if not any(has_recorder(cell, record) for cell in cells.values()):
        parts.append(f"record: wants {shown(record)}, which no cell has")
    return "; ".join(parts)


def _unmatched_setting(field: str, selector: Any, variants: Collection[Settings]) -> str:
    """The first setting of a selector that no variant has, among those that have the settings before it."""
    if isinstance(selector, Mapping):
        for name, wanted in selector.items():
            fitting = [variant for variant in variants if matches({name: wanted}, variant)]
            inside = [variant[name] for variant in variants if isinstance(variant.get(name), Mapping)]
            if not fitting and isinstance(wanted, Mapping) and inside:
                return _unmatched_setting(f"{field}: {name}", wanted, inside)
            if not fitting:
                values = {as_written(variant[name]) for variant in variants if name in variant}
                return f"{field}: {name}: wants {shown(wanted)}, the cells have {_nearest(wanted, values)}"
            variants = fitting
    names = {str(variant.get("name")) for variant in variants}
    return f"{field}: wants {shown(selector)}, the cells have {_nearest(selector, names)}"


def _nearest(wanted: Any, values: Collection[str]) -> str:
    text = wanted if isinstance(wanted, str) else as_written(wanted)
    near = get_close_matches(text, sorted(values), n=NEAREST, cutoff=0)
    return ", ".join(near) + (", ..." if len(values) > len(near) else "") or "none"
