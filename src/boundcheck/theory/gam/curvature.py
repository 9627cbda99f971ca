"""Gradient norm aware minimisation (GAM): what its paper states of first-order flatness and curvature.

R⁰_ρ(θ) = max_{‖ε‖≤ρ} L̂(θ+ε) − L̂(θ) and R¹_ρ(θ) = ρ max_{‖ε‖≤ρ} ‖∇L̂(θ+ε)‖ (Zhang, Xu, Yu, Zou, Cui 2023,
arXiv:2303.03108); GAM minimises L̂ + α R¹_ρ. The rigorous form of the curvature lemma is derived here.

The paper's bound on the risk is in `boundcheck.theory.gam.risk`, that on its training in
`boundcheck.theory.gam.convergence`; what else holds between R⁰, R¹ and ρ in `boundcheck.theory.gam.flatness`; closed
forms on a quadratic in `boundcheck.theory.gam.quadratic` and, for GAM's steps, `boundcheck.theory.gam.directions`.
Numbers and arrays broadcast; NaN in gives NaN out. The norm is the Euclidean one over all parameters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


def zeroth_order_flatness_bound(first_order_flatness: npt.ArrayLike) -> FloatArray:
    """Upper bound on the zeroth-order flatness of a loss.

    Statement: R⁰_ρ(θ) = max_{‖ε‖≤ρ} L(θ+ε) − L(θ) ≤ ρ max_{‖ε‖≤ρ} ‖∇L(θ+ε)‖ = R¹_ρ(θ), for L ∈ C¹.
    Proof: mean value theorem on the segment to the maximiser. Attained by a linear loss; at a quadratic minimum
    R¹ = 2 R⁰ exactly, so the two differ only off stationarity or by the structure inside the ball.

    Args:
        first_order_flatness: R¹_ρ(θ), in units of the loss.

    Returns:
        The bound, in units of the loss.

    References:
        Zhang et al. 2023, arXiv:2303.03108 (the definitions); C-Flat, NeurIPS 2024, eq. 8.
    """
    return floats(first_order_flatness)[0][()]


def first_order_flatness_at_minimum(sharpness: npt.ArrayLike, rho: npt.ArrayLike) -> FloatArray:
    """First-order flatness at a local minimum, from the sharpness alone.

    Statement: R¹_ρ(θ*) = ρ² λ_max(∇²L̂(θ*)).
    Assumptions: θ* is a local minimum and L̂ equals its second-order Taylor polynomial on the ball.
    Proof: ‖∇L̂(θ*+δ)‖ = ‖Hδ‖, largest at δ = ±ρv₁. `flatness_curvature_bounds` needs neither assumption.

    Args:
        sharpness: λ_max, loss per squared unit of θ.
        rho: radius ρ, in units of θ.

    Returns:
        R¹, in units of the loss; R⁰ is half of it.

    References:
        The lemma as quoted by C-Flat, NeurIPS 2024, section 3.
    """
    sharpness, rho = floats(sharpness, rho)
    return rho**2 * sharpness


def penalised_flatness_bound(sharpness: npt.ArrayLike, rho: npt.ArrayLike, weight: npt.ArrayLike) -> FloatArray:
    """Upper bound at a local minimum on both flatness penalties together.

    Statement: R⁰_ρ(θ*) + λ R¹_ρ(θ*) ≤ (1+λ) ρ² λ_max.
    Assumptions: those of `first_order_flatness_at_minimum`; λ ≥ 0.
    Proof: R⁰ ≤ R¹ = ρ² λ_max. The left side is exactly (½+λ) ρ² λ_max.

    Args:
        sharpness: λ_max, loss per squared unit of θ.
        rho: radius ρ, in units of θ.
        weight: λ ≥ 0, the coefficient of R¹.

    Returns:
        The bound, in units of the loss.

    Raises:
        ValueError: a negative weight.

    References:
        C-Flat, NeurIPS 2024, eq. 10.
    """
    (weight,) = floats(weight)
    reject("weight", weight, weight < 0, ">= 0")
    return (1 + weight) * first_order_flatness_at_minimum(sharpness, rho)


def flatness_curvature_bounds(
    spectral_norm: npt.ArrayLike, gradient_norm: npt.ArrayLike, hessian_lipschitz: npt.ArrayLike, rho: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Two-sided bound on R¹/ρ² around the spectral norm of the Hessian, at any point.

    Statement (derived here): ‖H‖₂ − γ₂ρ/2 ≤ R¹_ρ(θ)/ρ² ≤ ‖H‖₂ + ‖g‖/ρ + γ₂ρ/2, g = ∇L(θ), H = ∇²L(θ).
    Assumptions: ∇²L is γ₂-Lipschitz on the ball. At a minimum ‖H‖₂ = λ_max, at a saddle it is max|λ|.
    Proof: ‖∇L(θ+δ) − g − Hδ‖ ≤ γ₂‖δ‖²/2. Upper: triangle inequality. Lower: δ = ±ρv, v the eigenvector of the
    eigenvalue of largest modulus, with the sign that makes gᵀHδ ≥ 0. Both ends are attained by ax²/2 ± c|x|³/6.
    Where the gradient is not zero, R¹/ρ² is ‖g‖/ρ rather than curvature for ρ ≪ ‖g‖/‖H‖₂.

    Args:
        spectral_norm: ‖H‖₂, loss per squared unit of θ.
        gradient_norm: ‖g‖, loss per unit of θ.
        hessian_lipschitz: γ₂ ≥ 0, loss per cubed unit of θ; 0 for a quadratic.
        rho: radius ρ > 0, in units of θ.

    Returns:
        (lower, upper) bounds on R¹_ρ(θ)/ρ², loss per squared unit of θ.

    Raises:
        ValueError: a radius that is not positive.
    """
    norm, gradient_norm, lipschitz, rho = floats(spectral_norm, gradient_norm, hessian_lipschitz, rho)
    reject("rho", rho, rho <= 0, "> 0")
    remainder = lipschitz * rho / 2
    return norm - remainder, norm + gradient_norm / rho + remainder


def spectral_norm_bounds(
    first_order_flatness: npt.ArrayLike,
    gradient_norm: npt.ArrayLike,
    hessian_lipschitz: npt.ArrayLike,
    rho: npt.ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """What R¹ certifies of the curvature: `flatness_curvature_bounds`, solved for the spectral norm.

    Statement (derived here): R¹/ρ² − ‖g‖/ρ − γ₂ρ/2 ≤ ‖H‖₂ ≤ R¹/ρ² + γ₂ρ/2. So a small R¹ means a small λ_max, at any
    point; a large one means a large λ_max only where the gradient is small.

    Args:
        first_order_flatness: R¹_ρ(θ), in units of the loss.
        gradient_norm: ‖g‖, loss per unit of θ.
        hessian_lipschitz: γ₂ ≥ 0, loss per cubed unit of θ.
        rho: radius ρ > 0, in units of θ.

    Returns:
        (lower, upper) bounds on ‖H‖₂, loss per squared unit of θ.

    Raises:
        ValueError: a radius that is not positive.
    """
    flatness, gradient_norm, lipschitz, rho = floats(first_order_flatness, gradient_norm, hessian_lipschitz, rho)
    reject("rho", rho, rho <= 0, "> 0")
    curvature, remainder = flatness / rho**2, lipschitz * rho / 2
    return curvature - gradient_norm / rho - remainder, curvature + remainder


def best_radius(gradient_norm: npt.ArrayLike, hessian_lipschitz: npt.ArrayLike) -> FloatArray:
    """The radius at which R¹/ρ² is closest to the spectral norm, as far as `flatness_curvature_bounds` can tell.

    Statement (derived here): ρ* = √(2‖g‖/γ₂) minimises ‖g‖/ρ + γ₂ρ/2, whose least value is √(2‖g‖γ₂).

    Args:
        gradient_norm: ‖g‖ ≥ 0, loss per unit of θ.
        hessian_lipschitz: γ₂ > 0, loss per cubed unit of θ.

    Returns:
        ρ*, in units of θ; 0 at a stationary point, where a smaller radius is always better.

    Raises:
        ValueError: a Lipschitz constant that is not positive: on a quadratic no radius is large enough.
    """
    gradient_norm, lipschitz = floats(gradient_norm, hessian_lipschitz)
    reject("hessian_lipschitz", lipschitz, lipschitz <= 0, "> 0")
    return np.sqrt(2 * gradient_norm / lipschitz)
