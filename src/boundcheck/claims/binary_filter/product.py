"""Learning rate and weight decay of latent weights act through their product: the grid of both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from boundcheck.claims.binary_filter.bit_comparisons import Comparison, comparisons
from boundcheck.claims.binary_filter.product_grid import Family, Grid, Position, grid_figures, grid_table
from boundcheck.claims.binary_filter.relations import MAGNITUDES, Twins
from boundcheck.claims.shared.selection import (
    CellKey,
    Cells,
    Recorded,
    Selected,
    Selector,
    SelectsCells,
    Settings,
    cells_of,
    is_equal,
    matches,
    only_cells,
)
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import ByCell, absent_runs, quantity_rows, values_by_cell
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Reason, Tables, Verdict, because


@settings(kw_only=True)
class ActThroughProduct(SelectsCells):
    """Trainings have equal bits where lr·weight_decay and w₀/lr are equal, and other bits where one of them is not.

    Compared are trainings that differ from one at the centre of the grid in learning rate, weight decay and start
    only: every two of those with the start of the centre, and every two of those whose start is in proportion to the
    learning rate. `contradicted` where a bit of two differs whose product and w₀/lr are equal; else `supported` where
    all others do differ, in every seed, and `inconclusive` where some do not. The effect says how much the start alone
    matters: of each seed the largest difference of accuracy between two trainings of one start and one product, its
    mean and interval over seeds.

    Args:
        centre: selector of the method at the centre, one of the selected cells.
    """

    centre: Selector

    def chosen(self, cells: Cells) -> list[CellKey]:
        """The cells of the grid, sorted."""
        return sorted({key for family in self._families(cells).values() for key in family})

    def selects(self, cells: Cells, recorded: Recorded | None = None) -> Selected:
        """See SelectsCells; never decided also where the grid has no two cells that act alike."""
        plain = super().selects(cells, recorded)
        is_grid = any(_is_compared(family) for family in self._families(cells).values())
        return plain if is_grid or plain.never else plain._replace(never=[because("no_grid")])

    def decide(self, tables: Tables) -> Verdict:
        """Compare all pairs of cells."""
        cells = cells_of(tables.runs)
        centre, families = self._centre(cells), self._families(cells)
        tables = only_cells(tables, {key for family in families.values() for key in family})
        positions = {key: position for family in families.values() for key, position in family.items()}
        compared = comparisons(tables, _pairs(families))
        alike = [c for c in compared if _act_alike(c.twins, positions)]
        others = [c for c in compared if not _act_alike(c.twins, positions)]
        absent = absent_runs(tables.runs)
        if centre is None or not alike or not others:
            return Verdict("not run", absent or [because("no_grid")])
        accuracy = _accuracy(tables)
        interval = student_interval(list(_spread(families["w₀ fixed"], accuracy).values()))
        decision, reason = _decided(alike, others)
        grid = Grid(families, centre, _agreement(compared), accuracy)
        return Verdict(
            decision,
            [reason, because("spread_of_accuracy", points=interval.mean), *absent],
            interval.mean,
            interval.low,
            interval.high,
            unit="points, the largest difference at one fixed w₀",
            num_runs=interval.num,
            cells=grid_table(grid),
            figures=grid_figures(grid),
        )

    def _centre(self, cells: Cells) -> CellKey | None:
        """The cell at the centre; None where no cell, or several, could be it."""
        centres = [key for key in super().chosen(cells) if matches(self.centre, cells[key]["method"])]
        return centres[0] if len(centres) == 1 else None

    def _families(self, cells: Cells) -> dict[str, Family]:
        """Where each training stands: those whose start is in proportion to lr, and those with the centre's start."""
        centre = self._centre(cells)
        if centre is None:
            return {"w₀ ∝ lr": {}, "w₀ fixed": {}}
        selected = [key for key in super().chosen(cells) if _is_beside(key, centre, cells)]
        positions = {key: Position(*(cells[key]["method"][name] for name in MAGNITUDES)) for key in selected}
        ordered = sorted(positions, key=lambda key: (positions[key].decay, positions[key].lr))
        middle = positions[centre]
        proportional = {key: positions[key] for key in ordered if positions[key].has_start_per_rate_of(middle)}
        fixed = {key: positions[key] for key in ordered if positions[key].start == middle.start}
        return {"w₀ ∝ lr": proportional, "w₀ fixed": fixed}


def _is_beside(key: CellKey, centre: CellKey, cells: Cells) -> bool:
    """Whether a training differs from the centre's in learning rate, weight decay and start only."""

    def others(method: Settings) -> Settings:
        return {name: value for name, value in method.items() if name not in ("name", *MAGNITUDES)}

    mine, theirs = cells[key], cells[centre]
    is_same_kind = is_equal(others(mine["method"]), others(theirs["method"]))
    return key[:2] == centre[:2] and is_same_kind and is_equal(mine["training"], theirs["training"])


def _pairs(families: dict[str, Family]) -> list[Twins]:
    return sorted({pair for family in families.values() for pair in combinations(sorted(family), 2)})


def _act_alike(twins: Twins, positions: Family) -> bool:
    first, second = twins
    return positions[first].acts_like(positions[second])


def _is_compared(family: Family) -> bool:
    """Whether a family has two trainings that act alike, and two that do not."""
    return len({_act_alike(pair, family) for pair in combinations(family, 2)}) == 2


def _decided(alike: Sequence[Comparison], others: Sequence[Comparison]) -> tuple[Decision, Reason]:
    num_wrong = sum(c.mismatches for c in alike)
    same = sorted({c.label for c in others if not c.mismatches})
    ends = [100 * float(c.differing[-1]) for c in others]
    reason = because(
        "products",
        num_wrong=num_wrong,
        num_alike=len(alike),
        num_others=len(others),
        num_different=sum(c.mismatches > 0 for c in others),
        differing=[min(ends), max(ends)],
        same=same,
    )
    return ("contradicted" if num_wrong else "inconclusive" if same else "supported"), reason


def _agreement(compared: Sequence[Comparison]) -> dict[frozenset[CellKey], float]:
    """By pair of cells, the bits (%) that both have in common at the end, mean over runs."""
    ends: dict[frozenset[CellKey], list[float]] = {}
    for comparison in compared:
        ends.setdefault(frozenset(comparison.twins), []).append(float(comparison.differing[-1]))
    return {pair: 100 * (1 - float(np.mean(shares))) for pair, shares in ends.items()}


def _accuracy(tables: Tables) -> ByCell:
    """In percent."""
    values = values_by_cell(quantity_rows(tables, "curves", "test_accuracy"), tables.runs, "last")
    return {key: {seed: 100 * value for seed, value in by_seed.items()} for key, by_seed in values.items()}


def _spread(family: Family, accuracy: ByCell) -> dict[int, float]:
    """By seed, the largest difference of accuracy between trainings of equal product."""
    by_product: dict[float, list[CellKey]] = {}
    for key, position in family.items():
        by_product.setdefault(position.product, []).append(key)
    spreads: dict[int, float] = {}
    for keys in by_product.values():
        for seed in set.intersection(*(set(accuracy.get(key, {})) for key in keys)):
            values = [accuracy[key][seed] for key in keys]
            spreads[seed] = max(spreads.get(seed, 0.0), max(values) - min(values))
    return spreads
