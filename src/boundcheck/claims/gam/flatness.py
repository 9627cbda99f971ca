"""Checks of flatness: R⁰ ≤ R¹, R¹/ρ² around the largest curvature, and how both grow with the radius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import KEYS, check_rows, wide
from boundcheck.claims.shared.selection import cells_of
from boundcheck.optional_members import HasOneActivation
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.gam.curvature import flatness_curvature_bounds, zeroth_order_flatness_bound
from boundcheck.theory.gam.flatness import zeroth_order_flatness_integral_bound
from boundcheck.verdicts import Tables

THEOREM = "R⁰(ρ) ≤ ∫₀^ρ R¹(s)/s ds"
SMOOTH_ACTIVATIONS = ("tanh", "gelu", "softplus", "silu")


@settings
class ZerothBelowFirst:
    """R⁰_ρ ≤ R¹_ρ at every snapshot and radius.

    Both are measured by ascent, so both are lower estimates, and an inequality of maxima need not hold for lower
    estimates. It does here, because the evaluator of R¹ visits the segment from θ to the maximiser of R⁰ until it
    meets a gradient norm of R⁰/ρ, which the mean value theorem promises. So no ascent that stopped early can excuse a
    row outside: it is a fault of the evaluator or of the theorem. The premise holds everywhere: L need not be
    smooth, it is enough that it is the integral of its gradient along the segment, as for ReLU networks.

    Args:
        tolerance: of arithmetic, relative to R¹. The default leaves room for a loss of order 1 in float32 at R¹ of
            order 10⁻³. The rows' errors are of what the ascents missed, and no part of it.
    """

    tolerance: NotNegative = 1e-3

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, analysis and radius, absolute or in units of ‖θ‖."""
        frames = []
        for prefix, theorem in (("", "R⁰(ρ) ≤ R¹(ρ)"), ("relative_", "R⁰(ρ) ≤ R¹(ρ), ρ = κ‖θ‖")):
            names = [f"{prefix}zeroth_order_flatness", f"{prefix}first_order_flatness"]
            points = wide(tables.measurements, names, by_coordinate=True).dropna(subset=names)
            zeroth, first = (points[name].to_numpy() for name in names)
            tolerance = self.tolerance * np.abs(first)
            bound, radius = zeroth_order_flatness_bound(first), points["coordinate"]
            frames.append(check_rows(points, theorem, "upper", bound, zeroth, tolerance, coordinate=radius))
        return pd.concat(frames, ignore_index=True)


@settings
class FlatnessCurvature:
    """‖H‖ − γ₂ρ/2 ≤ R¹_ρ/ρ² ≤ ‖H‖ + ‖g‖/ρ + γ₂ρ/2, a row for each side.

    R¹ and γ₂ are lower estimates. That of γ₂ includes 2‖∇L(θ+δ) − g − Hδ‖/‖δ‖² at the maximiser δ of R¹ and at ±ρv,
    v the eigenvector of ‖H‖, and that of R¹ includes ±ρv. The proof of either side uses the Lipschitz constant at
    these points only: above, ‖∇L(θ+δ)‖ ≤ ‖g‖ + ‖H‖‖δ‖ + γ₂‖δ‖²/2; below, ‖∇L(θ±ρv)‖ ≥ ‖g ± ρHv‖ − γ₂ρ²/2. So both
    sides hold for the estimates, and a row outside is no underestimate but a fault of the evaluator or of the theorem.
    What the true maxima do is certified on one side only: where the lower row holds, R¹ ≥ its measured value holds
    it too; an R¹ above the upper bound that no ascent found cannot be excluded.
    The premise is a Lipschitz Hessian: it fails for networks with kinks (ReLU), whatever was measured.

    Args:
        tolerance: of arithmetic, relative to the upper bound; the rows' stated errors of ‖H‖ come on top, those of R¹
            do not, for they are of what the ascents missed.
    """

    tolerance: NotNegative = 1e-3

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run, snapshot, analysis and radius that has R¹, ‖H‖, ‖g‖ and γ₂."""
        names = ("first_order_flatness", "hessian_lipschitz", "spectral_norm", "gradient_norm", "coordinate")
        points = flatness_and_curvature(tables)
        flatness, lipschitz, norm, gradient_norm, rho = (points[name].to_numpy(np.float64) for name in names)
        lower, upper = flatness_curvature_bounds(norm, gradient_norm, lipschitz, rho)
        norm_error = points["spectral_norm_error"].fillna(0.0).to_numpy()
        common: dict[str, Any] = {
            "measured": flatness / rho**2,
            "tolerance": norm_error + self.tolerance * np.abs(upper),
            "premise_holds": has_lipschitz_hessian(points, tables.runs),
            "coordinate": rho,
        }
        above = check_rows(points, "R¹(ρ)/ρ² ≤ ‖H‖ + ‖g‖/ρ + γ₂ρ/2", "upper", upper, **common)
        below = check_rows(points, "R¹(ρ)/ρ² ≥ ‖H‖ − γ₂ρ/2", "lower", lower, **common)
        return pd.concat([above, below], ignore_index=True)


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
        points = _by_radius(tables, [name])
        before = points.groupby([*KEYS, "analysis"])[[name, "coordinate"]].shift()
        bound = before[name] * points["coordinate"] / before["coordinate"]
        points, bound = points[bound.notna()], bound.dropna()
        theorem, radius = "R¹(ρ) ≥ R¹(ρ₀) ρ/ρ₀ for ρ₀ < ρ", points["coordinate"]
        return check_rows(points, theorem, "lower", bound, points[name], self.tolerance * bound, coordinate=radius)


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
        points, frames = _by_radius(tables, ["first_order_flatness", "zeroth_order_flatness"]), []
        for _, group in points.groupby([*KEYS, "analysis"], sort=False):
            radii = group["coordinate"].to_numpy()
            mean_gradients = group["first_order_flatness"].to_numpy() / radii
            bound = zeroth_order_flatness_integral_bound(radii, mean_gradients)[1:]
            measured, tolerance = group["zeroth_order_flatness"][1:], self.tolerance * bound
            frames.append(check_rows(group[1:], THEOREM, "upper", bound, measured, tolerance, coordinate=radii[1:]))
        return pd.concat([check_rows(points[:0], THEOREM, "upper", [], []), *frames], ignore_index=True)


def _by_radius(tables: Tables, names: Sequence[str]) -> pd.DataFrame:
    """A row per run, snapshot, analysis and radius that has all these quantities, from the smallest radius."""
    points = wide(tables.measurements, names, by_coordinate=True).dropna(subset=list(names))
    return points.sort_values([*KEYS, "analysis", "coordinate"])


def flatness_and_curvature(tables: Tables) -> pd.DataFrame:
    """A row per run, snapshot, analysis and radius that has R¹ and γ₂, and ‖H‖ and ‖g‖ of the snapshot."""
    at_radius, at_point = ["first_order_flatness", "hessian_lipschitz"], ["spectral_norm", "gradient_norm"]
    points = wide(tables.measurements, at_radius, by_coordinate=True)
    points = points.merge(wide(tables.measurements, at_point, by_coordinate=False), on=[*KEYS, "analysis"])
    return points.dropna(subset=[*at_radius, *at_point, "coordinate"])


def has_lipschitz_hessian(rows: pd.DataFrame, runs: pd.DataFrame) -> np.ndarray:
    """For each row whether its network is built of smooth functions only, so that its Hessian is locally Lipschitz."""
    models = {(key[0], key[1]): model_of(cell) for key, cell in cells_of(runs).items()}
    smooth = {
        key: isinstance(model, HasOneActivation) and model.activation in SMOOTH_ACTIVATIONS
        for key, model in models.items()
    }
    return np.array([smooth[key] for key in zip(rows["dataset"], rows["model"], strict=True)], dtype=bool)
