"""What GAM's directions are made of: the gradient of the first-order flatness, and the accelerated forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from boundcheck.methods.flat import along, perpendicular
from boundcheck.methods.landscape import Landscape


def flatness_gradient(landscape: Landscape, rho: Any, inner_steps: int = 1) -> Tensor:
    """ρ f(θ + δ) (k, p), f = ∇‖∇L‖, at δ = ρ f̂(θ): the gradient of R¹_ρ, were θ + δ where ‖∇L‖ is largest in the ball.

    Args:
        landscape: L at θ, second order.
        rho: ρ.
        inner_steps: K; δ ← ρ f̂(θ + δ) is done K times from δ = 0, each for one more gradient and product.

    References:
        Zhang et al. 2023, Algorithm 1 (K = 1).
    """
    theta, slope = landscape.theta, landscape.norm_gradient()
    for _ in range(inner_steps):
        slope = landscape.norm_gradient_at(theta + along(slope, rho))
    return rho * slope


def flatness_gradient_by_differences(landscape: Landscape, rho: Any, radius: Any) -> Tensor:
    """ρ (g₃ − g₂)/ρ′ (k, p): `flatness_gradient` with f ≈ [∇L(θ + ρ′ĝ) − ∇L(θ)]/ρ′, in three more passes.

    The error is O(ρ′) where ∇²L is Lipschitz and zero where it is constant; g₂ and g₃ are those of `ascend`.
    """
    ascent = ascend(landscape, rho, radius)
    return rho * (ascent.g3 - ascent.g2) / radius


def accelerated(landscape: Landscape, rho: Any, alpha: Any, radius: Any, beta: Any, gamma: Any) -> Tensor:
    """h₊ − γ h₋⊥ (k, p), with h₊ = α g₁ + (1 − α) g₃, h₋ = β g₀ + (1 − β) g₂, and h₋⊥ its part orthogonal to h₊.

    References:
        Zhang et al. 2023, Algorithm 2.
    """
    g0, g1, g2, g3 = ascend(landscape, rho, radius)
    h_plus = torch.lerp(g3, g1, alpha)
    h_minus = torch.lerp(g2, g0, beta)
    return h_plus - gamma * perpendicular(h_minus, h_plus)


def accelerated_as_released(landscape: Landscape, rho: Any, alpha: Any, radius: Any, beta: Any, gamma: Any) -> Tensor:
    """`accelerated` as the authors' code computes it: h₋ = g₀ + |1 − β| g₂, and θ moved to and fro by sums.

    It is `accelerated` with 1/(1 + |1 − β|) for β and γ (1 + |1 − β|) for γ, but for the rounding that stays in θ.

    References:
        the authors' public code of Zhang et al. 2023.
    """
    g0, g1, g2, g3 = ascend(landscape, rho, radius, by_sums=True)
    h_plus = torch.lerp(g3, g1, alpha)
    h_minus = g0 + abs(1 - beta) * g2
    return h_plus - gamma * perpendicular(h_minus, h_plus)


class Ascent(NamedTuple):
    """Gradients (k, p) at θ₀ to θ₃; see `ascend`."""

    g0: Tensor
    g1: Tensor
    g2: Tensor
    g3: Tensor


def ascend(landscape: Landscape, rho: Any, radius: Any, by_sums: bool = False) -> Ascent:
    """∇L at θ₀ = θ, θ₁ = θ + ρ′ĝ₀, θ₂ = θ + ρĥ₀ with h₀ = g₁ − g₀ ≈ ρ′f(θ), and θ₃ = θ₂ + ρ′ĝ₂.

    Args:
        landscape: L at θ.
        rho: ρ, the radius of the ball.
        radius: ρ′, the step of the differences.
        by_sums: find θ again by subtracting the steps, rounding included, and leave the landscape there.
    """
    theta, g0 = landscape.theta, landscape.gradient
    step_1 = along(g0, radius)
    theta_1 = theta + step_1
    g1 = landscape.gradient_at(theta_1)
    if by_sums:
        theta = theta_1 - step_1
    step_2 = along(g1 - g0, rho)
    theta_2 = theta + step_2
    g2 = landscape.gradient_at(theta_2)
    step_3 = along(g2, radius)
    theta_3 = theta_2 + step_3
    g3 = landscape.gradient_at(theta_3)
    if by_sums:
        landscape.theta = theta_3 - (step_2 + step_3)
    return Ascent(g0, g1, g2, g3)
