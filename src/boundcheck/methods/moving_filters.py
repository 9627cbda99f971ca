"""Gradient filters whose rates or inputs at each step depend on the learning rate of a latent optimizer.

Their `lr` is that of the latent optimizer. A scheduler changes it, and they compute their rates from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from boundcheck.methods.gradient_filter import GradientFilter
from boundcheck.settings import ShareBelowOne, check
from boundcheck.theory.binary_filter.mappings import riccati_rates, sgd_rates


class _MovingFilter(GradientFilter, ABC):
    """A second-order filter whose groups have the numbers of a latent optimizer."""

    def __init__(self, params: Iterable[Any], lr: float, start: tuple[float, float], **numbers: Any) -> None:
        self._numbers = {"lr": lr, **numbers}
        super().__init__(params, alpha=0.5, gamma=0.5, initial_inertia=start[0], initial_momentum=start[1])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group with the latent optimizer's numbers."""
        super().add_param_group({**self._numbers, **param_group})

    @abstractmethod
    def cascade(self, group: dict[str, Any]) -> tuple[float, float, float]:
        """(α, γ, keep) of this step."""

    def rates(self, group: dict[str, Any]) -> tuple[dict[str, float], float]:
        """The rates of this step, and what the inertia is multiplied by first."""
        alpha, gamma, keep = self.cascade(group)
        return {"delta": 1.0, "gamma": gamma, "alpha": alpha}, keep


class RiccatiFilter(_MovingFilter):
    """torch's SGD with momentum under any schedule: `theory.binary_filter.filter_of_torch_sgd`."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, momentum: float) -> None:
        numbers = {"weight_decay": weight_decay, "latent_momentum": momentum, "last_rates": None}
        super().__init__(params, lr, (weight_decay, weight_decay), **numbers)

    def cascade(self, group: dict[str, Any]) -> tuple[float, float, float]:
        """At the first step the roots, then the recursion `riccati_rates`."""
        decay, momentum, last = group["weight_decay"], group["latent_momentum"], group["last_rates"]
        if last is None:
            rates = sgd_rates(group["lr"], decay, momentum)
            alpha, gamma = float(rates.alpha), float(rates.gamma)
            if not alpha <= gamma:
                raise ValueError(f"lr: {group['lr']} with weight_decay {decay} has complex poles; use StateSpaceFilter")
        else:
            alpha, gamma = riccati_rates(last[1], last[0], group["lr"] * decay, momentum)
        group["last_rates"] = [alpha, gamma]
        return alpha, gamma, 1.0


class FrozenRootsFilter(_MovingFilter):
    """An approximation to torch's SGD under a schedule: at each step the rates of a constant learning rate."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, momentum: float) -> None:
        numbers = {"weight_decay": weight_decay, "latent_momentum": momentum}
        super().__init__(params, lr, (weight_decay, weight_decay), **numbers)

    def cascade(self, group: dict[str, Any]) -> tuple[float, float, float]:
        """The roots for the learning rate of this step."""
        rates = sgd_rates(group["lr"], group["weight_decay"], group["latent_momentum"])
        return float(rates.alpha), float(rates.gamma), 1.0


class SumFilter(_MovingFilter):
    """Weight decay 0: α_t = ε_t/S_t with S_t = S_{t−1} + ε_t, S_0 = 1: `theory.binary_filter.filter_without_decay`.

    Args:
        params: binary parameters, or groups of them.
        lr: ε.
        momentum: μ of the latent training.
        dampening: d, from its second step on.
        nesterov: whether its momentum is Nesterov's; then the input is (1+μ)g_t − μg_{t−1}, with g_0 = 0.
        is_average: whether its momentum is an average, m ← μm + (1−μ)g, instead of a sum.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float,
        dampening: float = 0.0,
        nesterov: bool = False,
        is_average: bool = False,
    ) -> None:
        check("dampening", dampening, ShareBelowOne)
        inertia = 1.0 if is_average else (1 - momentum) / (1 - dampening)
        numbers = {"latent_momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, lr, (inertia, 0.0), **numbers, num_steps=0, total=1.0)

    def cascade(self, group: dict[str, Any]) -> tuple[float, float, float]:
        """α is the share of this step in the sum of all learning rates so far."""
        group["total"] += group["lr"]
        group["num_steps"] += 1
        gamma = 1 - group["latent_momentum"]
        if group["num_steps"] == 1:  # the latent momentum is not dampened yet
            gamma /= 1 - group["dampening"]
        return group["lr"] / group["total"], gamma, 1.0

    def inputs(self, group: Mapping[str, Any], parameters: Sequence[Tensor]) -> list[Tensor]:
        """The gradients; with Nesterov momentum (1+μ)g_t − μg_{t−1}."""
        gradients = super().inputs(group, parameters)
        if not group["nesterov"]:
            return gradients
        momentum, nesterov_gradients = group["latent_momentum"], []
        for p, gradient in zip(parameters, gradients, strict=True):
            last = self.state[p].setdefault("last_gradient", torch.zeros_like(gradient))
            nesterov_gradients.append((1 + momentum) * gradient - momentum * last)
            last.copy_(gradient)
        return nesterov_gradients


class HeldRateFilter(_MovingFilter):
    """Weight decay α/ε_t, so that α is constant: `theory.binary_filter.filter_at_held_rate`. I_0 = −`inertia`·w_0."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, momentum: float, inertia: float) -> None:
        numbers = {"held_alpha": lr * weight_decay, "latent_momentum": momentum, "last_lr": None}
        super().__init__(params, lr, (inertia, 0.0), **numbers)

    def cascade(self, group: dict[str, Any]) -> tuple[float, float, float]:
        """A constant α; the inertia is measured in units that grow as the learning rate falls."""
        keep = 1.0 if group["last_lr"] is None else group["last_lr"] / group["lr"]
        group["last_lr"] = group["lr"]
        return group["held_alpha"], 1 - group["latent_momentum"], keep


class NormalisedFilter(GradientFilter):
    """AdamW: α_t = ε_t λ, and the input is m̂/(√v̂ + ϵ) instead of the gradient. λ = 0 is the sum α_t = ε_t/S_t."""

    def __init__(
        self, params: Iterable[Any], lr: float, weight_decay: float, betas: Sequence[float], eps: float
    ) -> None:
        self._numbers = {"lr": lr, "weight_decay": weight_decay, "betas": list(betas), "eps": eps, "total": 1.0}
        super().__init__(params, alpha=0.5, initial_inertia=weight_decay or 1.0)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group with AdamW's numbers."""
        super().add_param_group({**self._numbers, "num_steps": 0, **param_group})

    def start(self, group: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
        """The inertia, and the means of the gradient and its square."""
        return super().start(group, p) | {"mean": torch.zeros_like(p), "mean_square": torch.zeros_like(p)}

    def rates(self, group: dict[str, Any]) -> tuple[dict[str, float], float]:
        """One average, whose rate follows the learning rate."""
        group["num_steps"] += 1
        group["total"] += group["lr"]
        decay = group["weight_decay"]
        alpha = group["lr"] * decay if decay else group["lr"] / group["total"]
        return {"delta": 1.0, "gamma": 1.0, "alpha": alpha}, 1.0

    def inputs(self, group: Mapping[str, Any], parameters: Sequence[Tensor]) -> list[Tensor]:
        """The normalised gradients."""
        (beta1, beta2), t = group["betas"], group["num_steps"]
        normalised = []
        for p in parameters:
            mean, square = (self.state[p][name] for name in ("mean", "mean_square"))
            mean.lerp_(p.grad, 1 - beta1)
            square.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            root = (square / (1 - beta2**t)).sqrt_().add_(group["eps"])
            normalised.append(mean / (1 - beta1**t) / root)
        return normalised
