"""The terms of GAM's directions: the gradient of the first-order flatness, and the accelerated forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from boundcheck.methods.flat import along, perpendicular
from boundcheck.methods.landscape import Landscape


def flatness_gradient(landscape: Landscape, rho: Any, inner_steps: int = 1) -> Tensor:
    """ρ f(θ + δ) (k, p), with f = ∇‖∇L‖ and δ = ρ f̂(θ): GAM's approximation of the gradient of R¹_ρ.

    It is exact if θ + δ is the point of the ball with the largest ‖∇L‖.

    Args:
        landscape: L at θ, second order.
        rho: ρ.
        inner_steps: K; δ ← ρ f̂(θ + δ) is repeated K times from δ = 0. Each costs one gradient and one product.

    References:
        Zhang et al. 2023, Algorithm 1 (K = 1).
    """
    slope = landscape.norm_gradient()
    for _ in range(inner_steps):
        landscape.move_back()
        landscape.move_along(slope, rho)
        slope = landscape.norm_gradient_here()
    return slope.mul_(rho)


def flatness_gradient_by_differences(landscape: Landscape, rho: Any, radius: Any) -> Tensor:
    """ρ (g₃ − g₂)/ρ′ (k, p): `flatness_gradient` with f ≈ [∇L(θ + ρ′ĝ) − ∇L(θ)]/ρ′, in three more passes.

    The error is O(ρ′) if ∇²L is Lipschitz, and zero if ∇²L is constant. g₂ and g₃ are those of `ascend`.
    """
    _, _, g2, g3 = ascend(landscape, rho, radius)
    return g3.sub_(g2).mul_(rho / radius)


def accelerated(landscape: Landscape, rho: Any, alpha: Any, radius: Any, beta: Any, gamma: Any) -> Tensor:
    """h₊ − γ h₋⊥ (k, p), with h₊ = α g₁ + (1 − α) g₃, h₋ = β g₀ + (1 − β) g₂, and h₋⊥ its part orthogonal to h₊.

    References:
        Zhang et al. 2023, Algorithm 2.
    """
    g0, g1, g2, g3 = ascend(landscape, rho, radius)
    h_plus = g3.lerp_(g1, alpha)
    h_minus = g2.lerp_(g0, beta)
    return h_plus.sub_(perpendicular(h_minus, h_plus, out=h_minus).mul_(gamma))


def accelerated_as_released(landscape: Landscape, rho: Any, alpha: Any, radius: Any, beta: Any, gamma: Any) -> Tensor:
    """`accelerated` as the authors' code computes it: h₋ = g₀ + |1 − β| g₂; perturbations are added and subtracted.

    It equals `accelerated` with 1/(1 + |1 − β|) for β and γ (1 + |1 − β|) for γ, except for rounding errors in θ.

    References:
        the authors' public code of Zhang et al. 2023.
    """
    g0, g1, g2, g3 = ascend_by_sums(landscape, rho, radius)
    h_plus = g3.lerp_(g1, alpha)
    h_minus = g2.mul_(abs(1 - beta)).add_(g0)
    return h_plus.sub_(perpendicular(h_minus, h_plus, out=h_minus).mul_(gamma))


class Ascent(NamedTuple):
    """Gradients (k, p) at θ₀ to θ₃; see `ascend`."""

    g0: Tensor
    g1: Tensor
    g2: Tensor
    g3: Tensor


def ascend(landscape: Landscape, rho: Any, radius: Any) -> Ascent:
    """∇L at θ₀ = θ, θ₁ = θ + ρ′ĝ₀, θ₂ = θ + ρĥ₀ with h₀ = g₁ − g₀ ≈ ρ′f(θ), and θ₃ = θ₂ + ρ′ĝ₂.

    Args:
        landscape: L at θ.
        rho: ρ, the radius of the ball.
        radius: ρ′, the step of the differences.
    """
    g0 = landscape.gradient
    landscape.move_along(g0, radius)
    g1 = landscape.gradient_here()
    landscape.move_back()
    landscape.move_along(torch.sub(g1, g0, out=landscape.room("difference")), rho)
    g2 = landscape.gradient_here()
    landscape.move_along(g2, radius)
    g3 = landscape.gradient_here()
    return Ascent(g0, g1, g2, g3)


def ascend_by_sums(landscape: Landscape, rho: Any, radius: Any) -> Ascent:
    """As `ascend`, but θ is restored by subtracting the perturbations, and keeps their rounding errors."""
    g0 = landscape.gradient
    step = along(g0, radius, out=landscape.room("step"))
    landscape.move_by(step)
    g1 = landscape.gradient_here()
    landscape.move_by(step, -1)
    step = along(torch.sub(g1, g0, out=step), rho, out=step)
    landscape.move_by(step)
    g2 = landscape.gradient_here()
    last_step = along(g2, radius, out=landscape.room("last step"))
    landscape.move_by(last_step)
    g3 = landscape.gradient_here()
    landscape.move_by(step.add_(last_step), -1)
    landscape.settle()
    return Ascent(g0, g1, g2, g3)
