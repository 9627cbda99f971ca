"""Which cells a claim looks at: selectors over the resolved settings of cells, and the roles of their grid blocks.

A selector is a mapping from settings to what they must be. A value that must be equal is given as it is, a list means
any of its entries, a mapping looks inside a nested setting (`base: {kind: sgd}`). The operators `not`, `equals`,
`at_least`, `at_most`, `above` and `below` stand in a mapping of their own (`rho: {above: 0}`). A list of selectors
selects what any of them does. A text stands for `{name: TEXT}`; names may be patterns (`gam_*`). A cell whose kind
lacks a setting that the selector names is not selected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import WithJsonSchema

from boundcheck.settings import settings
from boundcheck.verdicts import Reason, Tables, Views, because

CELL = ("dataset", "model", "method")
MAIN = "main"
Settings = Mapping[str, Any]
CellKey = tuple[str, str, str]
Cells = Mapping[CellKey, Settings]
Selector = Annotated[
    Mapping[str, Any] | Sequence[Mapping[str, Any] | str] | str,
    WithJsonSchema(
        {
            "type": ["object", "array", "string"],
            "items": {"type": ["object", "string"]},
            "words": "a selector, {kind: ..., and settings}, a list of them, or a name",
        }
    ),
]
Recorded = Callable[[Settings, str], Sequence[str]]  # of a cell: patterns of the quantities in "curves", "measurements"

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda value, wanted: is_equal(value, wanted),
    "not": lambda value, wanted: not fits(value, wanted),
    "at_least": lambda value, limit: _is_number(value) and value >= limit,
    "at_most": lambda value, limit: _is_number(value) and value <= limit,
    "above": lambda value, limit: _is_number(value) and value > limit,
    "below": lambda value, limit: _is_number(value) and value < limit,
}


class Selected(NamedTuple):
    """What a claim would look at: its cells, the baseline of each, the seeds, and why it can never be decided."""

    cells: list[CellKey]
    baselines: dict[CellKey, CellKey | None]
    num_seeds: int  # the least of the cells
    never: list[Reason]  # empty where the claim can be decided


def matches(selector: Selector, variant: Settings) -> bool:
    """Whether the resolved settings of a dataset, model, method, training or recorder are selected."""
    if isinstance(selector, str):
        return fnmatchcase(str(variant.get("name", "")), selector)
    if not isinstance(selector, Mapping):
        return any(matches(entry, variant) for entry in selector)
    return all(
        name in variant
        and (
            fnmatchcase(variant[name], wanted)
            if name == "name" and isinstance(wanted, str)
            else fits(variant[name], wanted)
        )
        for name, wanted in selector.items()
    )


def fits(value: Any, wanted: Any) -> bool:
    """Whether the value of one setting is what a selector wants."""
    if isinstance(wanted, Mapping):
        if wanted and set(wanted) <= set(OPERATORS):
            return all(OPERATORS[operator](value, operand) for operator, operand in wanted.items())
        return isinstance(value, Mapping) and matches(wanted, value)
    if isinstance(wanted, list | tuple):
        return any(fits(value, entry) for entry in wanted)
    return is_equal(value, wanted)


def is_equal(one: Any, other: Any) -> bool:
    """Whether two settings are equal; numbers up to rounding, `true` is no number."""
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=0.0)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return type(one) is type(other) and bool(one == other)


def cells_of(runs: pd.DataFrame) -> dict[CellKey, Settings]:
    """The resolved settings of every planned cell, by (dataset, model, method), from the table of runs."""
    cells: dict[CellKey, Settings] = {}
    for run in runs.drop_duplicates(list(CELL)).to_dict("records"):
        specs = {key: {"name": run[key], **run[f"{key}_spec"]} for key in CELL}
        others = {key: run[key] for key in ("training", "record", "roles")}
        cells[run["dataset"], run["model"], run["method"]] = {**specs, **others}
    return cells


def only_cells(tables: Tables, cells: Iterable[CellKey]) -> Tables:
    """The tables with the rows of these cells; the skipped cells stay."""
    kept = set(cells)
    if kept.issuperset(cells_of(tables.runs)):
        return tables
    return only_runs(tables, kept)._replace(
        curves=rows_of(tables.curves, kept, tables),
        measurements=rows_of(tables.measurements, kept, tables),
        views=None if tables.views is None else Views(),  # what is made of these rows goes when they go
    )


def only_runs(tables: Tables, cells: Iterable[CellKey]) -> Tables:
    """The tables with the runs and checks of these cells; the curves and measurements stay whole."""
    kept = set(cells)
    return tables._replace(runs=rows_of(tables.runs, kept, tables), checks=rows_of(tables.checks, kept, tables))


def rows_of(frame: pd.DataFrame, cells: Collection[CellKey], tables: Tables | None = None) -> pd.DataFrame:
    """The rows of these cells; of none, the columns alone. The cells of a frame of `tables` are numbered once."""
    numbers, number_of = _cell_numbers(frame) if tables is None else tables.view(frame, _cell_numbers)
    return frame[np.isin(numbers, [number for key, number in number_of.items() if key in cells])]


def _cell_numbers(frame: pd.DataFrame) -> tuple[np.ndarray, dict[CellKey, int]]:
    """A number for each row that tells its cell, and that number by cell."""
    numbers = frame.groupby(list(CELL), sort=False).ngroup().to_numpy()
    _, firsts = np.unique(numbers, return_index=True)
    names = frame[list(CELL)].iloc[firsts]
    return numbers, dict(zip(names.itertuples(index=False, name=None), numbers[firsts].tolist(), strict=True))


@settings(kw_only=True)
class SelectsCells:
    """Selects cells by what they are. A claim, or a check, that looks at some cells only inherits these fields.

    Args:
        datasets: selector of the datasets.
        models: selector of the models.
        methods: selector of the methods.
        training: selector of the training settings.
        record: selector of recorders; some recorder of the cell must be selected.
        roles: the roles of grid blocks whose cells are looked at.
    """

    datasets: Selector = field(default_factory=dict)
    models: Selector = field(default_factory=dict)
    methods: Selector = field(default_factory=dict)
    training: Selector = field(default_factory=dict)
    record: Selector = field(default_factory=dict)
    roles: Sequence[str] = (MAIN,)

    def chosen(self, cells: Cells) -> list[CellKey]:
        """The selected cells, sorted."""
        return sorted(key for key, cell in cells.items() if has_role(cell, self.roles) and self._is_selected(cell))

    def only(self, tables: Tables) -> Tables:
        """The tables with the rows of the selected cells."""
        return only_cells(tables, self.chosen(cells_of(tables.runs)))

    def only_runs(self, tables: Tables) -> Tables:
        """The tables with the runs and checks of the selected cells, which costs little; the rest stays whole."""
        return only_runs(tables, self.chosen(cells_of(tables.runs)))

    def selects(self, cells: Cells, recorded: Recorded | None = None) -> Selected:
        """What would be looked at in a planned grid.

        Args:
            cells: the resolved settings of each cell, with its `seeds` (a list).
            recorded: the quantities that a cell will have; None: do not look at quantities.
        """
        chosen = {key: cells[key] for key in self.chosen(cells)}
        never = self.why_never(chosen) if chosen else [because("no_cell")]
        if chosen and recorded is not None:
            never += self._unrecorded(chosen.values(), recorded)
        return Selected([*chosen], {}, min((len(cell["seeds"]) for cell in chosen.values()), default=0), never)

    def why_never(self, cells: Cells) -> list[Reason]:
        """Why these cells, those selected, can never decide it, whatever comes out; empty where they can."""
        return []

    def _is_selected(self, cell: Settings) -> bool:
        selectors = ("dataset", self.datasets), ("model", self.models), ("method", self.methods)
        named = all(matches(selector, cell[key]) for key, selector in selectors)
        return named and matches(self.training, cell["training"]) and has_recorder(cell, self.record)

    def _unrecorded(self, cells: Collection[Settings], recorded: Recorded) -> list[Reason]:
        """Why nothing can be decided where no cell has the quantity."""
        quantity, source = getattr(self, "quantity", None), getattr(self, "source", None)
        if quantity is None or source is None:
            return []
        has_it = any(fnmatchcase(quantity, pattern) for cell in cells for pattern in recorded(cell, source))
        return [] if has_it else [because("not_recorded", quantity=quantity, source=source)]


def has_role(cell: Settings, roles: Sequence[str]) -> bool:
    """Whether a cell stands in a block of one of the roles."""
    return not set(roles).isdisjoint(cell["roles"])


def has_recorder(cell: Settings, selector: Selector) -> bool:
    """Whether some recorder of a cell is selected; the empty selector selects every cell."""
    if isinstance(selector, Mapping) and not selector:
        return True
    return any(matches(selector, {"kind": entry} if isinstance(entry, str) else entry) for entry in cell["record"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
