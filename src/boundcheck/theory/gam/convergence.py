"""Gradient norm aware minimisation (GAM): how fast the gradient of the training loss vanishes along it.

The statements are derived here, with every constant explicit. Numbers and arrays broadcast.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject

ZETA_3_2 = 2.6123753486854883  # Σ t^(-3/2)
ZETA_2 = np.pi**2 / 6  # Σ t^(-2) = 1.6449...


def convergence_bound(
    num_steps: npt.ArrayLike,
    *,
    initial_gap: npt.ArrayLike,
    lr: npt.ArrayLike,
    alpha: npt.ArrayLike,
    rho: npt.ArrayLike,
    gradient_lipschitz: npt.ArrayLike,
    gradient_noise: npt.ArrayLike,
) -> FloatArray:
    """Upper bound on the mean squared gradient norm along GAM with decaying step size and radius.

    Statement (derived here): for θ_{t+1} = θ_t − η_t (g_t + α h_t), η_t = η₀/√t, ρ_t = ρ₀/√t,
        1/T Σ_{t≤T} E‖∇F(θ_t)‖² ≤ 2/(η₀√T) · [ F(θ₁) − F* + ζ(3/2) α²γ₁²η₀ρ₀²
                                               + γ₁η₀²σ²(1 + log T) + ζ(2) γ₁³η₀²α²ρ₀² ],
    ζ(3/2) = 2.612..., ζ(2) = 1.645...: (C₁ + C₂ log T)/√T.
    Assumptions: F and every mini-batch loss γ₁-smooth; E[g_t | θ_t] = ∇F(θ_t), E‖g_t − ∇F(θ_t)‖² ≤ σ²; h_t Algorithm
    1's ρ_t ∇²L(θ^adv) ĝ^adv, hence ‖h_t‖ ≤ ρ_t γ₁; η₀ ≤ 1/(4γ₁). Plain steps: no momentum, AdamW or BatchNorm.
    Proof: descent lemma; |∇Fᵀ αh| ≤ ¼‖∇F‖² + α²ρ_t²γ₁² and ‖g + αh‖² ≤ 2‖g‖² + 2α²ρ_t²γ₁² leave
    (η_t/2) E‖∇F‖² ≤ F_t − F_{t+1} + η_tα²ρ_t²γ₁² + γ₁η_t²σ² + γ₁³η_t²α²ρ_t²; sum t^(−3/2), t^(−1) and t^(−2).

    Args:
        num_steps: T ≥ 1.
        initial_gap: F(θ₁) − F* ≥ 0, in units of the loss.
        lr: η₀ in (0, 1/(4γ₁)].
        alpha: α, the coefficient of R¹.
        rho: ρ₀, the first radius, in units of θ.
        gradient_lipschitz: γ₁ > 0, loss per squared unit of θ.
        gradient_noise: σ, the root of the largest variance of the mini-batch gradient, loss per unit of θ.

    Returns:
        The bound, squared loss per squared unit of θ.

    Raises:
        ValueError: no step, or a step size out of its range.

    References:
        C-Flat, NeurIPS 2024, eq. 9, states an analogue for R⁰ + λR¹ with ρ_t ∝ t^(−1/4).
    """
    T, gap, lr, alpha, rho, smooth, noise = floats(
        num_steps, initial_gap, lr, alpha, rho, gradient_lipschitz, gradient_noise
    )
    _reject_steps(T, lr, smooth)
    penalty = (alpha * smooth * rho) ** 2
    brackets = gap + ZETA_3_2 * lr * penalty + smooth * lr**2 * (noise**2 * (1 + np.log(T)) + ZETA_2 * penalty)
    return 2 / (lr * np.sqrt(T)) * brackets


def constant_radius_convergence_bound(
    num_steps: npt.ArrayLike,
    *,
    initial_gap: npt.ArrayLike,
    lr: npt.ArrayLike,
    alpha: npt.ArrayLike,
    rho: npt.ArrayLike,
    gradient_lipschitz: npt.ArrayLike,
    gradient_noise: npt.ArrayLike,
) -> FloatArray:
    """Upper bound on the mean squared gradient norm along GAM with a constant radius, as it is used in practice.

    Statement (derived here): as `convergence_bound`, but with ρ_t = ρ,
        1/T Σ_{t≤T} E‖∇F(θ_t)‖² ≤ 2/(η₀√T) · [ F(θ₁) − F* + γ₁η₀²(σ² + α²ρ²γ₁²)(1 + log T) ] + 4α²ρ²γ₁².
    The last term, `convergence_floor`, does not vanish: the gradient need not either.
    Proof: the same; Σ η_t ≤ 2η₀√T and Σ η_t² ≤ η₀²(1 + log T).

    Args:
        num_steps: T ≥ 1.
        initial_gap: F(θ₁) − F* ≥ 0, in units of the loss.
        lr: η₀ in (0, 1/(4γ₁)].
        alpha: α, the coefficient of R¹.
        rho: ρ, in units of θ.
        gradient_lipschitz: γ₁ > 0, loss per squared unit of θ.
        gradient_noise: σ, the root of the largest variance of the mini-batch gradient, loss per unit of θ.

    Returns:
        The bound, squared loss per squared unit of θ.

    Raises:
        ValueError: no step, or a step size out of its range.
    """
    T, gap, lr, smooth, noise = floats(num_steps, initial_gap, lr, gradient_lipschitz, gradient_noise)
    _reject_steps(T, lr, smooth)
    floor = convergence_floor(alpha, rho, smooth)
    decaying = gap + smooth * lr**2 * (noise**2 + floor / 4) * (1 + np.log(T))
    return 2 / (lr * np.sqrt(T)) * decaying + floor


def convergence_floor(alpha: npt.ArrayLike, rho: npt.ArrayLike, gradient_lipschitz: npt.ArrayLike) -> FloatArray:
    """What `constant_radius_convergence_bound` tends to as T → ∞: 4α²ρ²γ₁².

    Args:
        alpha: α, the coefficient of R¹.
        rho: ρ, in units of θ.
        gradient_lipschitz: γ₁, loss per squared unit of θ.

    Returns:
        The floor, squared loss per squared unit of θ.
    """
    alpha, rho, smooth = floats(alpha, rho, gradient_lipschitz)
    return (2 * alpha * rho * smooth) ** 2


def _reject_steps(T: FloatArray, lr: FloatArray, smooth: FloatArray) -> None:
    reject("num_steps", T, T < 1, ">= 1")
    reject("lr", lr, (lr <= 0) | (4 * lr * smooth > 1), "> 0, at most 1/(4 gradient_lipschitz)")
