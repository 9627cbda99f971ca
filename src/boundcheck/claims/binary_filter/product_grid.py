"""The grid of learning rates and weight decays: where each training stands, and the table and heat maps of it."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from boundcheck.claims.shared.selection import CellKey
from boundcheck.claims.shared.values import ByCell
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure


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


class Grid(NamedTuple):
    """What is shown of the grid. Its centre belongs to every family."""

    families: Mapping[str, Family]  # by the name of their panel
    centre: CellKey
    agreement: Mapping[frozenset[CellKey], float]  # bits (%) equal at the end, by pair of cells
    accuracy: ByCell  # in percent

    def mean_accuracy(self, key: CellKey) -> float:
        """Over seeds, in percent; NaN without a run."""
        values = self.accuracy.get(key, {}).values()
        return fmean(values) if values else NAN

    def equal_to_centre(self, key: CellKey) -> float:
        """Bits (%) equal at the end to those of the centre; NaN where they were not compared."""
        return self._equal(key, self.centre)

    def equal_to_product(self, key: CellKey, family: Family) -> float:
        """Bits (%) equal at the end to those of the training of equal product at the centre's learning rate."""
        column = {p.product: other for other, p in family.items() if p.lr == family[self.centre].lr}
        return self._equal(key, column.get(family[key].product))

    def _equal(self, key: CellKey, other: CellKey | None) -> float:
        return 100.0 if key == other else self.agreement.get(frozenset((key, other)), NAN) if other else NAN


def grid_table(grid: Grid) -> list[dict[str, Any]]:
    """A row for each training of each family."""
    return [
        {
            "method": key[2],
            "start": name,
            "lr": position.lr,
            "weight decay": position.decay,
            "product": position.product,
            "accuracy (%)": grid.mean_accuracy(key),
            "bits equal to its product's (%)": grid.equal_to_product(key, family),
            "bits equal to the centre's (%)": grid.equal_to_centre(key),
            "n": len(grid.accuracy.get(key, {})),
        }
        for name, family in grid.families.items()
        for key, position in family.items()
    ]


def grid_figures(grid: Grid) -> list[Figure]:
    """Heat maps of the accuracy, and of the bits equal to those of equal products and to those of the centre."""
    families = grid.families
    plan = (
        "Left the starts are in proportion to the learning rate, right they are equal. Equal products of learning rate "
        "and weight decay lie on the diagonals from lower left to upper right."
    )
    middle = next(iter(families.values()))[grid.centre]
    at = f"lr {middle.lr:g}"
    accuracy = {name: {key: grid.mean_accuracy(key) for key in family} for name, family in families.items()}
    product = {name: {key: grid.equal_to_product(key, family) for key in family} for name, family in families.items()}
    centre = {name: {key: grid.equal_to_centre(key) for key in family} for name, family in families.items()}
    to_product = f"Bits equal to those of the training with the same product at {at} on its side, mean over seeds."
    to_centre = f"Bits equal to those of one training, {at} and weight decay {middle.decay:g}, mean over seeds."
    equal = "bits equal at the end (%)"
    return [
        _heatmap(families, accuracy, "test accuracy (%)", f"{plan} Test accuracy, mean over seeds."),
        _heatmap(families, product, equal, f"{to_product} {plan}"),
        _heatmap(families, centre, equal, f"{to_centre} {plan}"),
    ]


def _heatmap(
    families: Mapping[str, Family], values: Mapping[str, Mapping[CellKey, float]], label: str, caption: str
) -> Figure:
    rows = [
        (name, f"{position.decay:g}", position.lr, value)
        for name, family in families.items()
        for key, position in family.items()
        if np.isfinite(value := values[name][key])
    ]
    data = pd.DataFrame(rows, columns=["panel", "series", "x", "y"]).assign(role="measured", low=NAN, high=NAN)
    return Figure(data, "heatmap", "learning rate (rows: weight decay)", label, caption)
