"""Checks of what GAM's paper states about flatness: R⁰ ≤ R¹, and R¹/ρ² around the largest curvature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import KEYS, check_rows, wide
from boundcheck.claims.shared.selection import cells_of
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.gam.curvature import flatness_curvature_bounds, zeroth_order_flatness_bound
from boundcheck.verdicts import Tables

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
        tolerance: of arithmetic, relative to R¹; where the rows state errors of their own, the sum of these is used.
            The default leaves room for a loss of order 1 in float32 at R¹ of order 10⁻³.
    """

    tolerance: NotNegative = 1e-3

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, analysis and radius, absolute or in units of ‖θ‖."""
        theorem = "R⁰(ρ) ≤ R¹(ρ)"
        absolute = self._rows(tables.measurements, "", theorem)
        relative = self._rows(tables.measurements, "relative_", f"{theorem}, ρ = κ‖θ‖")
        return pd.concat([absolute, relative], ignore_index=True)

    def _rows(self, measurements: pd.DataFrame, prefix: str, theorem: str) -> pd.DataFrame:
        names = [f"{prefix}{order}_order_flatness" for order in ("zeroth", "first")]
        points = wide(measurements, names, by_coordinate=True).dropna(subset=names)
        zeroth, first = (points[name].to_numpy() for name in names)
        stated = sum(points[f"{name}_error"].to_numpy() for name in names)
        return check_rows(
            points,
            theorem,
            "upper",
            bound=zeroth_order_flatness_bound(first),
            measured=zeroth,
            tolerance=np.where(np.isnan(stated), self.tolerance * np.abs(first), stated),
            coordinate=points["coordinate"].to_numpy(),
        )


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
        tolerance: of arithmetic, relative to the upper bound; the rows' stated errors of R¹ and ‖H‖ come on top.
    """

    tolerance: NotNegative = 1e-3

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run, snapshot, analysis and radius that has R¹, ‖H‖, ‖g‖ and γ₂."""
        at_radius = wide(tables.measurements, ["first_order_flatness", "hessian_lipschitz"], by_coordinate=True)
        at_point = wide(tables.measurements, ["spectral_norm", "gradient_norm"], by_coordinate=False)
        needed = ["first_order_flatness", "hessian_lipschitz", "spectral_norm", "gradient_norm", "coordinate"]
        points = at_radius.merge(at_point, on=[*KEYS, "analysis"]).dropna(subset=needed)
        flatness, lipschitz, norm, gradient_norm, rho = (points[name].to_numpy(np.float64) for name in needed)
        lower, upper = flatness_curvature_bounds(norm, gradient_norm, lipschitz, rho)
        errors = (
            points[["first_order_flatness_error", "spectral_norm_error"]].fillna(0.0).to_numpy(np.float64)
        )  # (n, 2)
        common: dict[str, Any] = {
            "measured": flatness / rho**2,
            "tolerance": errors[:, 0] / rho**2 + errors[:, 1] + self.tolerance * np.abs(upper),
            "premise_holds": has_lipschitz_hessian(points, tables.runs),
            "coordinate": rho,
        }
        above = check_rows(points, "R¹(ρ)/ρ² ≤ ‖H‖ + ‖g‖/ρ + γ₂ρ/2", "upper", upper, **common)
        below = check_rows(points, "R¹(ρ)/ρ² ≥ ‖H‖ − γ₂ρ/2", "lower", lower, **common)
        return pd.concat([above, below], ignore_index=True)


def has_lipschitz_hessian(rows: pd.DataFrame, runs: pd.DataFrame) -> np.ndarray:
    """For each row whether its network is built of smooth functions only, so that its Hessian is locally Lipschitz."""
    cells = {(key[0], key[1]): cell for key, cell in cells_of(runs).items()}
    smooth = {key: getattr(model_of(cell), "activation", None) in SMOOTH_ACTIVATIONS for key, cell in cells.items()}
    return np.array([smooth[key] for key in zip(rows["dataset"], rows["model"], strict=True)], dtype=bool)
