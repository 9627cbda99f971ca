"""GAM's steps on a quadratic loss in closed form: its direction, its two-cycle, and what its accelerated form computes.

L(θ) has gradient g = ∇L(θ) and constant Hessian H, so ∇L(θ+δ) = g + Hδ. The numbers ξ that keep divisions by a
norm from failing are taken to 0: v/‖v‖ is 0 for v = 0. Leading axes are problems treated at once: hessian (..., p, p),
gradient (..., p), rho (...) broadcast. Derived here from GAM's Algorithms 1 and 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject
from boundcheck.theory.gam.quadratic import apply, unit


def ascent_flatness(
    hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike, num_steps: int = 1
) -> FloatArray:
    """Lower bound on R¹ by `num_steps` steps of normalised ascent; GAM's own estimate takes one.

    Statement: ρ‖g + Hδ_k‖ ≤ R¹_ρ for δ₀ = 0, δ_{k+1} = ρ f_k/‖f_k‖, f_k = ∇‖∇L(θ+δ_k)‖ = H(g + Hδ_k)/‖g + Hδ_k‖;
    it does not decrease with k.
    Proof: ‖g + Hδ‖ is convex in δ, and δ_{k+1} maximises its linearisation at δ_k over the ball (Frank-Wolfe).
    One step finds R¹ where g is along the top eigenvector, and can miss most of it where g has no part along it.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ > 0, (...).
        num_steps: k ≥ 0.

    Returns:
        (...): ρ‖g + Hδ_k‖, in units of the loss.

    Raises:
        ValueError: a negative number of steps.
    """
    hessian, gradient, rho = floats(hessian, gradient, rho)
    reject("num_steps", num_steps, num_steps < 0, ">= 0")
    there = gradient
    for _ in range(num_steps):
        there = gradient + rho[..., None] * apply(hessian, unit(apply(hessian, there)))
    return rho * np.linalg.norm(there, axis=-1)


def gam_norm_gradient(hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike) -> FloatArray:
    """GAM's gradient of R¹: h = ρ H g_adv/‖g_adv‖, g_adv = ∇L(θ + ρ f/‖f‖), f = Hg/‖g‖.

    ‖h‖ does not vanish with g: θ* is a fixed point only since 0/(0+ξ) = 0.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ, (...).

    Returns:
        (..., p), loss per unit of θ.
    """
    hessian, gradient, rho = floats(hessian, gradient, rho)
    ascended = gradient + rho[..., None] * apply(hessian, unit(apply(hessian, gradient)))
    return rho[..., None] * apply(hessian, unit(ascended))


def gam_direction(
    hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike, alpha: npt.ArrayLike
) -> FloatArray:
    """The step direction of Algorithm 1, d = g + α h, with h = `gam_norm_gradient`.

    In one dimension d = ax + αρa sgn(x): GAM is gradient descent on ½ax² + αρa|x|.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ, (...).
        alpha: α, the coefficient of R¹, (...).

    Returns:
        (..., p), loss per unit of θ.
    """
    gradient, alpha = floats(gradient, alpha)
    return gradient + alpha[..., None] * gam_norm_gradient(hessian, gradient, rho)


def gam_shrinkage(
    eigenvalues: npt.ArrayLike, coordinates: npt.ArrayLike, rho: npt.ArrayLike, alpha: npt.ArrayLike
) -> FloatArray:
    """dᵢ/xᵢ, by which `gam_direction` multiplies each eigen-coordinate xᵢ of θ − θ*: never negative, no rotation.

    dᵢ/xᵢ = λᵢ + αρλᵢ²(1 + ρλᵢ²/‖A²x‖)/‖Ax_adv‖, where x_adv,i = xᵢ(1 + ρλᵢ²/‖A²x‖) and A = diag(λ).

    Args:
        eigenvalues: λ (..., p), ≥ 0.
        coordinates: x (..., p), not in the null space of A.
        rho: radius ρ, (...).
        alpha: α, the coefficient of R¹, (...).

    Returns:
        (..., p), loss per squared unit of θ.
    """
    eigenvalues, x, rho, alpha = floats(eigenvalues, coordinates, rho, alpha)
    rho, alpha = rho[..., None], alpha[..., None]
    growth = 1 + rho * eigenvalues**2 / np.linalg.norm(eigenvalues**2 * x, axis=-1, keepdims=True)
    ascended_norm = np.linalg.norm(eigenvalues * growth * x, axis=-1, keepdims=True)
    return eigenvalues + alpha * rho * eigenvalues**2 * growth / ascended_norm


def two_cycle_amplitude(
    lr: npt.ArrayLike, alpha: npt.ArrayLike, rho: npt.ArrayLike, sharpness: npt.ArrayLike
) -> FloatArray:
    """Distance from the minimum at which GAM with constant step size and radius ends: ηαρλ/(2 − ηλ).

    Statement: in one dimension, x ← (1 − ηλ)x − ηαρλ sgn(x) converges to the cycle ±A of this amplitude A, if
    0 < ηλ < 2. In several dimensions the same cycle along the top eigenvector, λ = λ_max, exists; that iterates with
    ηλ < 1 end in it is observed, not proved.
    Proof: A = −((1 − ηλ)A − ηαρλ) has this solution; while signs alternate |x| − A is multiplied by |1 − ηλ| < 1 per
    step, and a step that keeps the sign shortens |x| by at least ηαρλ.

    Args:
        lr: η.
        alpha: α, the coefficient of R¹.
        rho: radius ρ, in units of θ.
        sharpness: λ > 0, loss per squared unit of θ.

    Returns:
        A, in units of θ.

    Raises:
        ValueError: ηλ outside (0, 2).
    """
    lr, alpha, rho, sharpness = floats(lr, alpha, rho, sharpness)
    rate = lr * sharpness
    reject("lr * sharpness", rate, (rate <= 0) | (rate >= 2), "between 0 and 2")
    return rate * alpha * rho / (2 - rate)


class AcceleratedGradients(NamedTuple):
    """The four gradients (..., p) of accelerated GAM (Algorithm 2)."""

    here: FloatArray  # g₀, at θ
    near: FloatArray  # g₁, at θ + ρ' ĝ₀
    ascended: FloatArray  # g₂, at θ₂ = θ + ρ ĥ₀, h₀ = g₁ − g₀
    near_ascended: FloatArray  # g₃, at θ₂ + ρ' ĝ₂


def accelerated_gradients(
    hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike, rho_prime: npt.ArrayLike
) -> AcceleratedGradients:
    """The four gradients of Algorithm 2; on a quadratic its finite differences are exact.

    g₁ = g₀ + ρ'Hĝ₀, g₂ = g₀ + ρHf̂, g₃ = g₂ + ρ'Hĝ₂, with f̂ = Hĝ₀/‖Hĝ₀‖.
    Identity: h₀ = ρ'Hĝ₀ gives θ₂ = θ_adv, hence (g₃ − g₂) ρ/ρ' = `gam_norm_gradient` for every ρ' > 0.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g₀ (..., p).
        rho: radius ρ of the ascent on the gradient norm, (...).
        rho_prime: radius ρ' of the finite differences, (...).

    Returns:
        g₀, g₁, g₂, g₃.
    """
    hessian, here, rho, rho_prime = floats(hessian, gradient, rho, rho_prime)
    curved = apply(hessian, unit(here))
    ascended = here + rho[..., None] * apply(hessian, unit(curved))
    near_ascended = ascended + rho_prime[..., None] * apply(hessian, unit(ascended))
    return AcceleratedGradients(here, here + rho_prime[..., None] * curved, ascended, near_ascended)


def accelerated_direction(
    hessian: npt.ArrayLike,
    gradient: npt.ArrayLike,
    rho: npt.ArrayLike,
    rho_prime: npt.ArrayLike,
    alpha: npt.ArrayLike,
    beta: npt.ArrayLike,
    gamma: npt.ArrayLike,
) -> FloatArray:
    """The step direction of Algorithm 2, d = h₊ − γ P⊥h₋: what it is to first order, exact on a quadratic.

    h₊ = αg₁ + (1−α)g₃ = g + (1−α)ρHf̂ + ρ'[αHĝ + (1−α)Hĝ₂] and h₋ = βg₀ + (1−β)g₂ = g + (1−β)ρHf̂; P⊥ projects
    on the complement of h₊. So it is no finite-difference form of Algorithm 1: its part like ∇R¹ has the weight
    `effective_alpha`, and as ρ' → 0 that part vanishes.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ, (...).
        rho_prime: radius ρ', (...).
        alpha: α, the weight of g₁ in h₊, (...).
        beta: β, the weight of g₀ in h₋, (...).
        gamma: γ, the weight of P⊥h₋, (...).

    Returns:
        (..., p), loss per unit of θ.
    """
    g = accelerated_gradients(hessian, gradient, rho, rho_prime)
    alpha, beta, gamma = (weight[..., None] for weight in floats(alpha, beta, gamma))
    plus = alpha * g.near + (1 - alpha) * g.near_ascended
    minus = beta * g.here + (1 - beta) * g.ascended
    along = unit(plus)
    perpendicular = minus - (minus * along).sum(-1, keepdims=True) * along
    return plus - gamma * perpendicular


def effective_alpha(alpha: npt.ArrayLike, rho: npt.ArrayLike, rho_prime: npt.ArrayLike) -> FloatArray:
    """The coefficient of R¹ in Algorithm 1 whose h has the weight that it has in Algorithm 2: (1−α)ρ'/ρ.

    Proof: in h₊ of `accelerated_direction`, (1−α)(g₃ − g₂) = (1−α)(ρ'/ρ) h.

    Args:
        alpha: α, the weight of g₁ in h₊.
        rho: radius ρ > 0.
        rho_prime: radius ρ'.

    Returns:
        The coefficient.

    Raises:
        ValueError: a radius ρ that is not positive.
    """
    alpha, rho, rho_prime = floats(alpha, rho, rho_prime)
    reject("rho", rho, rho <= 0, "> 0")
    return (1 - alpha) * rho_prime / rho


def released_weights(beta: npt.ArrayLike, gamma: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """(β, γ) of Algorithm 2 as printed that give the step of the authors' released code with its own (β, γ).

    Statement: the code takes h₋ = g₀ + |1−β|g₂ in place of βg₀ + (1−β)g₂; the step is that of
    β_eff = 1/(1 + |1−β|), γ_eff = γ(1 + |1−β|), on any loss.
    Proof: g₀ + |1−β|g₂ = (1 + |1−β|)(β_eff g₀ + (1−β_eff)g₂), and P⊥ is linear.

    Args:
        beta: β of the released code.
        gamma: γ of the released code.

    Returns:
        (β_eff, γ_eff).

    References:
        The authors' released gam.py, where β is never read but as 1−β.
    """
    beta, gamma = floats(beta, gamma)
    total = 1 + np.abs(1 - beta)
    return 1 / total, gamma * total
