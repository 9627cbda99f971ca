"""One-factor sweeps: runs whose models or datasets differ in one setting only."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, cells_of
from boundcheck.verdicts import Reason, because

LEAST_VALUES = 3  # of a setting: any line fits two
LABELS = {  # of settings whose name says less
    "train_size": "training examples n",
    "width": "width m",
    "depth": "depth L",
    "half_width": "half-width c of the initial weights",
}


def sweep_rows(rows: pd.DataFrame, runs: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Rows of the groups of runs that differ in one setting and have at least three values of it.

    Args:
        rows: tidy rows with the keys of runs.
        runs: the table of runs; those not done are left out.
        setting: of models (`width`), or of datasets (`dataset.train_size`).

    Returns: the rows with the columns `x`, the setting's value, and `group`, what is common to the others in words.
    """
    done = runs[runs["status"] == "done"]
    swept = swept_cells(cells_of(done), setting)
    labels = _described({group for _, group in swept.values()})
    entries = [(*cell, x, labels[group]) for cell, (x, group) in swept.items()]
    return rows.merge(done[[*RUN]]).merge(pd.DataFrame(entries, columns=[*CELL, "x", "group"]), on=[*CELL])


def swept_cells(cells: Cells, setting: str) -> dict[CellKey, tuple[float, str]]:
    """The value of a setting in each cell of a sweep, and what is common to the cells of the sweep, as JSON."""
    part, _, name = setting.rpartition(".")
    swept = part or "model"
    entries: dict[CellKey, tuple[float, str]] = {}
    for key, cell in cells.items():
        common = {field: value for field, value in cell[swept].items() if field != "name"}
        x = common.pop(name, None)
        if isinstance(x, int | float) and not isinstance(x, bool):
            names = {place: of_place for place, of_place in zip(CELL, key, strict=True) if place != swept}
            entries[key] = float(x), json.dumps(names | common, sort_keys=True)
    values: dict[str, set[float]] = {}
    for x, group in entries.values():
        values.setdefault(group, set()).add(x)
    return {key: (x, group) for key, (x, group) in entries.items() if len(values[group]) >= LEAST_VALUES}


def no_sweep(cells: Cells, setting: str, quantity: str) -> list[Reason]:
    """Why a claim about a sweep can never be decided where these cells have none."""
    return [] if swept_cells(cells, setting) else [because("no_sweep", x=setting, quantity=quantity)]


def setting_label(setting: str) -> str:
    """A setting (`width`, `dataset.train_size`) as an axis has it."""
    name = setting.rpartition(".")[2]
    return LABELS.get(name, name.replace("_", " "))


def _described(groups: Collection[str]) -> dict[str, str]:
    """A short name for each of several groups of settings, given as JSON: the values in which they differ."""
    parsed: dict[str, Mapping[str, Any]] = {group: json.loads(group) for group in groups}
    names = sorted({name for settings in parsed.values() for name in settings})
    differing = [n for n in names if len({json.dumps(s.get(n)) for s in parsed.values()}) > 1] or ["method"]
    described = {}
    for group, settings in parsed.items():
        values = [(name, settings[name]) for name in differing if name in settings]
        words = [value if isinstance(value, str) else f"{name} {value}" for name, value in values]
        described[group] = ", ".join(words) or "default"
    return described
