"""Momentum with a constant coefficient: heavy ball, heavy ball with Polyak's settings, and Nesterov's method."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from boundcheck.contracts import MomentumLaw
from boundcheck.methods.momentum import MomentumOptimizer
from boundcheck.settings import NotNegative, Positive, ShareBelowOne, settings
from boundcheck.theory.dag_momentum.baselines import polyak_settings


class HeavyBall(MomentumOptimizer):
    """Δθ ← −η g + β Δθ, θ ← θ + Δθ: torch's SGD with momentum, written in terms of the update.

    Args:
        params: parameters or groups.
        lr: η.
        momentum: β in [0, 1).
        weight_decay: λ of the penalty (λ/2) ‖θ‖², part of g.
        num_stacked: k; when it is more than 1, every parameter has a leading axis of k independent networks.

    References: Polyak 1964, Some methods of speeding up the convergence of iteration methods.
    """

    rules: ClassVar = {"momentum": ShareBelowOne}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        num_stacked: int = 1,
    ) -> None:
        super().__init__(params, lr, weight_decay, {"momentum": momentum}, num_stacked)

    def move(self, gradient: Tensor, velocity: Tensor, lr: Any, update: Tensor) -> None:
        """See `MomentumOptimizer`."""
        torch.mul(velocity, self.number("momentum"), out=update)
        update -= lr * gradient
        velocity.copy_(update)


class Nesterov(MomentumOptimizer):
    """v ← β v − η g(θ), θ ← θ − η g(θ) + β v. Here θ is the extrapolated point, at which the gradient is computed.

    With w = θ − β v this is w⁺ = θ − η g(θ), θ⁺ = w⁺ + β (w⁺ − w).

    Args: as of `HeavyBall`.

    References: Nesterov 1983, A method of solving a convex programming problem with convergence rate O(1/k²).
    """

    rules: ClassVar = {"momentum": ShareBelowOne}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        num_stacked: int = 1,
    ) -> None:
        super().__init__(params, lr, weight_decay, {"momentum": momentum}, num_stacked)

    def move(self, gradient: Tensor, velocity: Tensor, lr: Any, update: Tensor) -> None:
        """See `MomentumOptimizer`."""
        beta, step = self.number("momentum"), lr * gradient
        velocity *= beta
        velocity -= step
        torch.mul(velocity, beta, out=update)
        update -= step


@settings
class HeavyBallMethod:
    """HeavyBall on all parameters of a network.

    Args:
        lr: η.
        momentum: β in [0, 1).
        weight_decay: λ of the penalty (λ/2) ‖θ‖².
    """

    lr: Positive
    momentum: ShareBelowOne = 0.9
    weight_decay: NotNegative = 0.0

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False
    rule: ClassVar[type[HeavyBall | Nesterov]] = HeavyBall

    @property
    def momentum_law(self) -> MomentumLaw:
        """Heavy ball, with β."""
        return MomentumLaw("heavy_ball", self.momentum)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> MomentumOptimizer:
        """The optimizer of all parameters."""
        return self.rule(model.parameters(), self.lr, self.momentum, self.weight_decay, num_stacked)


@settings
class NesterovMethod(HeavyBallMethod):
    """Nesterov on all parameters of a network; its fields are those of `HeavyBallMethod`."""

    rule: ClassVar[type[HeavyBall | Nesterov]] = Nesterov

    @property
    def momentum_law(self) -> MomentumLaw:
        """Nesterov's, with β."""
        return MomentumLaw("nesterov", self.momentum)


@settings
class PolyakMethod:
    """Heavy ball with the optimal settings for quadratics with curvatures in [μ, L].

    Args:
        curvature: L, the largest curvature.
        strong_convexity: μ in (0, L], the smallest.
        weight_decay: λ of the penalty (λ/2) ‖θ‖².
    """

    curvature: Positive
    strong_convexity: Positive
    weight_decay: NotNegative = 0.0

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.strong_convexity > self.curvature:
            raise ValueError(f"strong_convexity: got {self.strong_convexity}; allowed: a number in (0, curvature]")

    @property
    def lr(self) -> float:
        """η = 4/(√L + √μ)²."""
        return float(polyak_settings(self.curvature, self.strong_convexity).lr)

    @property
    def momentum_law(self) -> MomentumLaw:
        """Heavy ball, with β = ((√L − √μ)/(√L + √μ))²."""
        return MomentumLaw("heavy_ball", float(polyak_settings(self.curvature, self.strong_convexity).momentum))

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> HeavyBall:
        """The optimizer of all parameters."""
        return HeavyBall(model.parameters(), self.lr, self.momentum_law.number, self.weight_decay, num_stacked)
