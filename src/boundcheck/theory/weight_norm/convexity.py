"""Restricted strong convexity of the square loss of a weight-normalised network, and the rate that follows from it.

Derived here in the notation of `weight_norm.training`; the statements are of the kind that the predecessor's are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from boundcheck.theory.weight_norm.recursion import Bounds


def restricted_convexity(
    average_gradient_norm: Tensor, bounds: Bounds, residuals: Tensor, radius: float | Tensor, kappa: float
) -> Tensor:
    """α, the restricted strong convexity of L around θ.

    Statement: for ‖δ‖ ≤ ρ with |cos(δ, ḡ)| ≥ κ,
        L(θ+δ) ≥ L(θ) + ⟨δ, ∇L(θ)⟩ + (α/2) ‖δ‖²,  α = 2 max(0, κ‖ḡ‖ − H̄ρ)² − (2/n) Σ_i H_i (‖f_i − y_i‖ + F_iρ),
    where ḡ = (1/n) Σ_i ∇(ρ_iᵀf)(x_i) for any unit ρ_i kept fixed; F_i, H_i hold within ρ of θ; H̄ is the mean of H_i.
    Proof: Taylor with the remainder at some θ′; Σ_i ‖J_iδ‖²/n ≥ ⟨δ, ḡ(θ′)⟩² (Jensen), ‖ḡ(θ′) − ḡ‖ ≤ H̄ρ and
    ‖f_i(θ′) − y_i‖ ≤ ‖f_i − y_i‖ + F_iρ. As ρ → 0, α → 2κ²‖ḡ‖² − 2 mean(H_i ‖f_i − y_i‖): positive where predictions
    move together. In the limit H_i need only bound the Hessian of the prediction along its own residual.

    Args:
        average_gradient_norm: ‖ḡ‖ (...).
        bounds: F_i and H_i within the radius, (..., n) or (..., 1).
        residuals: ‖f_i − y_i‖ (..., n), or their mean (..., 1) where the bounds are one for all.
        radius: ρ ≥ 0.
        kappa: κ in (0, 1].

    Returns: α (...); where it is not positive nothing is claimed.

    Raises:
        ValueError: κ outside (0, 1].
    """
    if not 0 < kappa <= 1:
        raise ValueError(f"kappa: got {kappa}; allowed: in (0, 1]")
    along = (kappa * average_gradient_norm - bounds.hessian.mean(-1) * radius).clamp_min(0)
    return 2 * along**2 - 2 * (bounds.hessian * (residuals + bounds.gradient * radius)).mean(-1)


def restricted_lower_bound(loss: Tensor, slope: Tensor, alpha: Tensor, distance: Tensor) -> Tensor:
    """L(θ+δ) ≥ L(θ) + ⟨δ, ∇L⟩ + (α/2)‖δ‖², with slope = ⟨δ, ∇L⟩ and distance = ‖δ‖."""
    return loss + slope + alpha / 2 * distance**2


def linear_rate(alpha: npt.ArrayLike, smoothness: npt.ArrayLike, omega: npt.ArrayLike) -> npt.ArrayLike:
    """αω(2−ω)/β: the share of L(θ) − L′ by which a step of length ω/β decreases the loss; see `rate_bound`."""
    alpha, beta, omega = (np.asarray(v, np.float64) for v in (alpha, smoothness, omega))
    return alpha * omega * (2 - omega) / beta


def rate_bound(
    loss: npt.ArrayLike, least: npt.ArrayLike, alpha: npt.ArrayLike, smoothness: npt.ArrayLike, omega: npt.ArrayLike
) -> npt.ArrayLike:
    """The loss after a step of length ω/β, 0 < ω < 2, where L is restricted strongly convex.

    Statement: L(θ − (ω/β)∇L) ≤ L(θ) − (α ω(2−ω)/β) (L(θ) − L′), for the loss L′ of any point of the set of
    `restricted_convexity`. Proof: L(θ) − inf L ≤ ‖∇L‖²/(2α) on it (minimise the lower bound over δ), and
    `descent_bound`. With L′ the infimum, and γ = (L′ − L*)/(L − L*): L⁺ − L* ≤ (1 − α ω(2−ω)(1−γ)/β)(L − L*).

    Args:
        loss: L(θ).
        least: L′ < L(θ), the least loss that is known in the set; with L′ = L(θ) nothing is said.
        alpha: α > 0.
        smoothness: β along the step.
        omega: ω.
    """
    loss, least = (np.asarray(v, np.float64) for v in (loss, least))
    return loss - np.asarray(linear_rate(alpha, smoothness, omega)) * (loss - least)
