"""Learning rate and weight decay of latent weights act through their product: the grid of both."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from boundcheck.claims.binary_filter.bit_comparisons import comparisons
from boundcheck.claims.binary_filter.relations import MAGNITUDES, are_comparable, are_equal_but
from boundcheck.claims.shared.figures import COLUMNS
from boundcheck.claims.shared.rows import ends
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, Selector, SelectsCells, cells_of, matches
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import absent_runs, quantity_rows, values_of_runs
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because

ACCURACY = "accuracy (%)"
EQUAL_TO_PRODUCT = "bits equal to its product's (%)"
EQUAL_TO_CENTRE = "bits equal to the centre's (%)"


class Position(NamedTuple):
    """Where a training stands in the grid."""

    start: float  # scale of w₀
    lr: float
    decay: float

    @property
    def product(self) -> float:
        """lr·weight_decay, to six digits."""
        return float(f"{self.lr * self.decay:.6g}")

    def has_start_per_rate_of(self, other: Position) -> bool:
        """Whether w₀/lr is equal."""
        return bool(np.isclose(self.start / self.lr, other.start / other.lr))

    def acts_like(self, other: Position) -> bool:
        """Whether both have the same bits by theory: equal lr·weight_decay, and equal w₀/lr."""
        return self.product == other.product and self.has_start_per_rate_of(other)


Family = Mapping[CellKey, Position]


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

    def why_never(self, cells: Cells) -> list[Reason]:
        """A reason unless some pairs of cells act alike and others do not."""
        families = self._families(cells).values()
        acts_alike = [{a.acts_like(b) for a, b in combinations(family.values(), 2)} for family in families]
        return [] if {True, False} in acts_alike else [because("no_grid")]

    def decide(self, tables: Tables) -> Verdict:
        """Compare all pairs of cells."""
        tables = self.only(tables)
        cells = cells_of(tables.runs)
        centre, families = self._centre(cells), self._families(cells)
        positions = {key: position for family in families.values() for key, position in family.items()}
        pairs = {pair for family in families.values() for pair in combinations(sorted(family), 2)}
        compared = comparisons(tables, sorted(pairs))
        is_alike = np.array([positions[a].acts_like(positions[b]) for a, b in compared["twins"]], dtype=bool)
        alike, others = compared[is_alike], compared[~is_alike]
        absent = absent_runs(tables.runs)
        if centre is None or alike.empty or others.empty:
            return Verdict("not run", absent or [because("no_grid")])
        accuracy = _accuracy(tables)
        interval = student_interval(_spread(families["w₀ fixed"], accuracy))
        decision, reason = _decided(alike, others)
        table = _table(families, centre, compared, accuracy)
        return Verdict(
            decision,
            [reason, because("spread_of_accuracy", points=interval.mean), *absent],
            **interval.as_effect("points, the largest difference at one fixed w₀"),
            cells=table,
            figures=_figures(pd.DataFrame(table), positions[centre]),
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
        positions = {
            key: Position(*(cells[key]["method"][name] for name in MAGNITUDES))
            for key in super().chosen(cells)
            if are_comparable(cells[key], cells[centre])
            and are_equal_but(MAGNITUDES, cells[key]["method"], cells[centre]["method"])
        }
        ordered = sorted(positions, key=lambda key: (positions[key].decay, positions[key].lr))
        middle = positions[centre]
        proportional = {key: positions[key] for key in ordered if positions[key].has_start_per_rate_of(middle)}
        fixed = {key: positions[key] for key in ordered if positions[key].start == middle.start}
        return {"w₀ ∝ lr": proportional, "w₀ fixed": fixed}


def _decided(alike: pd.DataFrame, others: pd.DataFrame) -> tuple[Decision, Reason]:
    num_wrong = int(alike["wrong"].sum())
    same = sorted(set(others.loc[others["wrong"] == 0, "method"]))
    reason = because(
        "products",
        num_wrong=num_wrong,
        num_alike=len(alike),
        num_others=len(others),
        num_different=int((others["wrong"] > 0).sum()),
        differing=ends(others["end"]),
        same=same,
    )
    return ("contradicted" if num_wrong else "inconclusive" if same else "supported"), reason


def _accuracy(tables: Tables) -> pd.DataFrame:
    """In percent, by seed (rows) and cell (columns); NaN where there is no run."""
    values = values_of_runs(quantity_rows(tables, "curves", "test_accuracy"), tables.runs, "last")
    return 100 * values.pivot(index="seed", columns=list(CELL), values="value")


def _spread(family: Family, accuracy: pd.DataFrame) -> pd.Series:
    """By seed, the largest difference of accuracy between trainings of equal product that all have the seed."""
    products = {position.product for position in family.values()}
    of_product = ([key for key, position in family.items() if position.product == product] for product in products)
    compared = [accuracy.reindex(columns=keys).dropna() for keys in of_product]
    return pd.concat([values.max(axis=1) - values.min(axis=1) for values in compared], axis=1).max(axis=1)


def _table(
    families: Mapping[str, Family], centre: CellKey, compared: pd.DataFrame, accuracy: pd.DataFrame
) -> list[dict[str, Any]]:
    """A row for each training of each family; the centre belongs to every family."""
    agreement = (100 - compared["end"]).groupby(compared["twins"].map(frozenset)).mean().to_dict()
    agreement |= {frozenset([key]): 100.0 for family in families.values() for key in family}
    rows = []
    for name, family in families.items():
        of_product = {p.product: key for key, p in family.items() if p.lr == family[centre].lr}
        for key, position in family.items():
            accuracies = accuracy[key].dropna() if key in accuracy else pd.Series(dtype=float)
            rows.append(
                {
                    "method": key[2],
                    "start": name,
                    "lr": position.lr,
                    "weight decay": position.decay,
                    "product": position.product,
                    ACCURACY: float(accuracies.mean()),
                    EQUAL_TO_PRODUCT: agreement.get(frozenset([key, of_product.get(position.product)]), NAN),
                    EQUAL_TO_CENTRE: agreement.get(frozenset([key, centre]), NAN),
                    "n": len(accuracies),
                }
            )
    return rows


def _figures(table: pd.DataFrame, centre: Position) -> list[Figure]:
    """Heat maps of the accuracy, and of the bits equal to those of equal products and to those of the centre."""
    plan = (
        "Left the starts are in proportion to the learning rate, right they are equal. Equal products of learning rate "
        "and weight decay lie on the diagonals from lower left to upper right."
    )
    at, equal = f"lr {centre.lr:g}", "bits equal at the end (%)"
    to_product = f"Bits equal to those of the training with the same product at {at} on its side, mean over seeds."
    to_centre = f"Bits equal to those of one training, {at} and weight decay {centre.decay:g}, mean over seeds."
    figures = []
    for column, label, caption in (
        (ACCURACY, "test accuracy (%)", f"{plan} Test accuracy, mean over seeds."),
        (EQUAL_TO_PRODUCT, equal, f"{to_product} {plan}"),
        (EQUAL_TO_CENTRE, equal, f"{to_centre} {plan}"),
    ):
        data = table.dropna(subset=[column]).rename(columns={"start": "panel", "lr": "x", column: "y"})
        data = data.assign(series=data["weight decay"].map("{:g}".format), role="measured", low=NAN, high=NAN)
        figures.append(Figure(data[list(COLUMNS)], "heatmap", "learning rate (rows: weight decay)", label, caption))
    return figures
