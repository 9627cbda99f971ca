"""Check of how first-order flatness grows with its radius: at least in proportion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.rows import KEYS, check_rows, wide
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FlatnessGrowth:
    """R¹(ρ)/ρ never falls: it is the largest gradient norm in a ball, and a larger ball holds the smaller one.

    So R¹ grows at least like ρ, which is what it does where the gradient dominates; at a minimum it grows like ρ².
    The evaluator starts at each radius also from the maximisers of the smaller ones, so that its lower estimates obey
    the inequality too: a row outside is a fault. The premise holds everywhere.

    Args:
        tolerance: of arithmetic, relative to R¹.
    """

    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance: got {self.tolerance}; allowed: >= 0")

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, analysis and radius that has a smaller one."""
        name = "first_order_flatness"
        found = wide(tables.measurements, [name], by_coordinate=True).dropna(subset=[name])
        found = found.sort_values([*KEYS, "analysis", "coordinate"])
        before = found.groupby([*KEYS, "analysis"])[[name, "coordinate"]].shift()
        bound = (before[name] * found["coordinate"] / before["coordinate"]).to_numpy(np.float64)
        has_smaller = ~np.isnan(bound)
        found, bound = found[has_smaller], bound[has_smaller]
        return check_rows(
            found,
            "R¹(ρ) ≥ R¹(ρ₀) ρ/ρ₀ for ρ₀ < ρ",
            "lower",
            bound,
            measured=found[name].to_numpy(),
            tolerance=self.tolerance * bound,
            coordinate=found["coordinate"].to_numpy(),
        )
