"""Bop: a binary weight flips if the average of its gradient exceeds a threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from boundcheck.methods.binary_training import BitsMethod, RealVariant, flip, set_to_signs
from boundcheck.settings import NotNegative, ShareAboveZero, check, settings
from boundcheck.theory.arguments import FloatArray
from boundcheck.theory.binary_filter.mappings import FilterMap

LARGEST_NEGLIGIBLE_THRESHOLD = 1e-6  # in units of the gradient: below it the threshold prevents hardly any flip


class Bop(Optimizer):
    """m ← (1−γ) m + γ g; b ← −b where |m| > τ and m has the sign of b. τ = 0 is the first-order gradient filter.

    The threshold is compared with a gradient. So Bop, unlike a filter, depends on the scale of the loss.

    Args:
        params: binary parameters, or groups of them.
        gamma: γ in (0, 1].
        threshold: τ ≥ 0, in units of the gradient.
        decay: whether γ is multiplied by lr/initial_lr, so that it follows a learning-rate schedule.

    References:
        Helwegen et al. 2019, Latent weights do not exist, arXiv:1906.02107, algorithm 1.
    """

    def __init__(self, params: Iterable[Any], gamma: float, threshold: float = 0.0, decay: bool = True) -> None:
        super().__init__(params, {"lr": 1.0, "gamma": gamma, "threshold": threshold, "decay": decay})

    @torch.no_grad()
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group and binarise its parameters."""
        for name, value in self.defaults.items():
            param_group.setdefault(name, value)
        check("gamma", param_group["gamma"], ShareAboveZero)
        check("threshold", param_group["threshold"], NotNegative)
        check("decay", param_group["decay"], bool)
        super().add_param_group(param_group)
        param_group.setdefault("initial_lr", param_group["lr"])
        for p in param_group["params"]:
            set_to_signs(p)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns the closure's result."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            gamma = group["gamma"] * (group["lr"] / group["initial_lr"] if group["decay"] else 1.0)
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                averages = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in parameters]
                torch._foreach_lerp_(averages, [p.grad for p in parameters], min(gamma, 1.0))
                flip(parameters, averages, group["threshold"])
        return loss


@settings
class BopMethod(BitsMethod):
    """`Bop` as a config variant.

    Args:
        real: the variant (sgd or adamw) that trains the real parameters.
        gamma: γ.
        threshold: τ.
        decay: whether γ follows the learning rate's schedule.
        init_scale: factor of the initial weights, before they become bits; only 0 has an effect.
    """

    real: RealVariant
    gamma: ShareAboveZero
    threshold: NotNegative = 1e-8
    decay: bool = True
    init_scale: NotNegative = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Bop:
        """See BinaryMethod."""
        return Bop(parameters, self.gamma, self.threshold, self.decay)

    def as_filter(self, factors: FloatArray) -> FilterMap | None:
        """See BinaryMethod: the first-order filter with α = γ; None if the threshold is not negligible."""
        if self.threshold >= LARGEST_NEGLIGIBLE_THRESHOLD:
            return None
        ones = np.ones_like(factors)
        return FilterMap(self.gamma * (factors if self.decay else ones), ones, ones, 0.0, 0.0)
