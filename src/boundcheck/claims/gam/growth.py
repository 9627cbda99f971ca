"""Checks across radii: first-order flatness grows at least in proportion, and its integral bounds the zeroth order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import KEYS, check_rows, wide
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.gam.flatness import zeroth_order_flatness_integral_bound
from boundcheck.verdicts import Tables

THEOREM = "R⁰(ρ) ≤ ∫₀^ρ R¹(s)/s ds"


@settings
class FlatnessGrowth:
    """R¹(ρ)/ρ never falls: it is the largest gradient norm in a ball, and a larger ball holds the smaller one.

    So R¹ grows at least like ρ, which is what it does where the gradient dominates; at a minimum it grows like ρ².
    The evaluator starts at each radius also from the maximisers of the smaller ones, so that its lower estimates obey
    the inequality too: a row outside is a fault. The premise holds everywhere.

    Args:
        tolerance: of arithmetic, relative to R¹.
    """

    tolerance: NotNegative = 1e-6

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, analysis and radius that has a smaller one."""
        name = "first_order_flatness"
        points = wide(tables.measurements, [name], by_coordinate=True).dropna(subset=[name])
        points = points.sort_values([*KEYS, "analysis", "coordinate"])
        before = points.groupby([*KEYS, "analysis"])[[name, "coordinate"]].shift()
        bound = (before[name] * points["coordinate"] / before["coordinate"]).to_numpy(np.float64)
        has_smaller = ~np.isnan(bound)
        points, bound = points[has_smaller], bound[has_smaller]
        return check_rows(
            points,
            "R¹(ρ) ≥ R¹(ρ₀) ρ/ρ₀ for ρ₀ < ρ",
            "lower",
            bound,
            measured=points[name].to_numpy(),
            tolerance=self.tolerance * bound,
            coordinate=points["coordinate"].to_numpy(),
        )


@settings
class ZerothBelowIntegral:
    """R⁰(ρ) ≤ ∫₀^ρ R¹(s)/s ds at every radius that has a smaller one, by the upper sum over the radii measured.

    Sharper than R⁰ ≤ R¹, which is its upper sum over one radius. R¹ at the smaller radii is a lower estimate, and no
    segment is visited there for the sake of R⁰ at a larger one: a row outside is a fault, or an ascent at a smaller
    radius that missed a gradient by more than the whole gap between the sum and the integral.

    Args:
        tolerance: of arithmetic, relative to the bound; see `zeroth_below_first`.
    """

    tolerance: NotNegative = 1e-3

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, analysis and radius that has a smaller one."""
        names = ["first_order_flatness", "zeroth_order_flatness"]
        points = wide(tables.measurements, names, by_coordinate=True).dropna(subset=names)
        points = points.sort_values([*KEYS, "analysis", "coordinate"])
        parts = [self._of_one(group) for _, group in points.groupby([*KEYS, "analysis"], sort=False)]
        return pd.concat([check_rows(points[:0], THEOREM, "upper", [], []), *parts], ignore_index=True)

    def _of_one(self, points: pd.DataFrame) -> pd.DataFrame:
        radii = points["coordinate"].to_numpy()
        bound = zeroth_order_flatness_integral_bound(radii, points["first_order_flatness"].to_numpy() / radii)[1:]
        return check_rows(
            points[1:],
            THEOREM,
            "upper",
            bound,
            measured=points["zeroth_order_flatness"].to_numpy()[1:],
            tolerance=self.tolerance * bound,
            coordinate=radii[1:],
        )
