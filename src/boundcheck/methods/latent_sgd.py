"""SGD on latent weights: torch's SGD, and an SGD with averaged momentum and decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from boundcheck.methods.binary_training import BinaryMethod, RealVariant
from boundcheck.methods.sgd import SGDMethod
from boundcheck.settings import NotNegative, Positive, Share, ShareBelowOne, check, settings
from boundcheck.theory.arguments import FloatArray
from boundcheck.theory.binary_filter.mappings import FilterMap, StateSpaceMap

Form = Literal["average", "heavy_ball"]


@settings
class LatentSGDMethod(BinaryMethod):
    """torch's SGD on the latent weights: u = g + λw, v ← μv + (1−d)u (first v = u), w ← w − ε v (Nesterov: u + μv).

    Args:
        lr: ε.
        real: the variant (sgd or adamw) that trains the real parameters.
        momentum: μ.
        dampening: d, from the second step on.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: λ.
        clip: clamp the latent weights to [−1, 1] after each step.
        init_scale: factor of the initial latent weights.
    """

    lr: Positive
    real: RealVariant
    momentum: ShareBelowOne = 0.0
    dampening: Share = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0
    clip: bool = False
    init_scale: NotNegative = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """See BinaryMethod."""
        method = SGDMethod(self.lr, self.momentum, self.nesterov, self.weight_decay, self.dampening)
        return method.optimizer(nn.ParameterList(parameters))

    def as_filter(self, factors: FloatArray) -> StateSpaceMap | None:
        """See BinaryMethod."""
        rate = self.lr * self.weight_decay
        if not rate or self.clip:
            return None
        dampening = self.dampening if self.momentum else 0.0  # torch ignores dampening without momentum
        return StateSpaceMap(rate * factors, self.momentum, dampening, self.nesterov, self.weight_decay)


class DecoupledSGD(Optimizer):
    """SGD with weight decay outside the momentum: w ← (1 − ε_t λ_t) w − ε_t m.

    `average`: m ← (1−γ) m + γ g, γ = 1−μ. `heavy_ball`: m ← μ m + g, 1/(1−μ) times as large.

    Args:
        params: parameters or groups.
        lr: ε.
        momentum: μ in [0, 1).
        weight_decay: λ.
        form: average or heavy_ball.
        hold_rate: use λ_t = λ ε_0/ε_t, so that ε_t λ_t is constant while the learning rate decays.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        form: Form = "average",
        hold_rate: bool = False,
    ) -> None:
        check("lr", lr, Positive)
        check("momentum", momentum, ShareBelowOne)
        check("weight_decay", weight_decay, NotNegative)
        check("form", form, Form)
        check("hold_rate", hold_rate, bool)
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "form": form, "hold_rate": hold_rate}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns the closure's result."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in parameters]
            gradients = [p.grad for p in parameters]
            lr, momentum = group["lr"], group["momentum"]
            decay_lr = group.get("initial_lr", lr) if group["hold_rate"] else lr
            torch._foreach_mul_(momenta, momentum)
            torch._foreach_add_(momenta, gradients, alpha=1 - momentum if group["form"] == "average" else 1.0)
            torch._foreach_mul_(parameters, 1 - decay_lr * group["weight_decay"])
            torch._foreach_add_(parameters, momenta, alpha=-lr)
        return loss


@settings
class LatentDecoupledSGDMethod(BinaryMethod):
    """`DecoupledSGD` on the latent weights. A decay of its learning rate is a decay of α only.

    Args:
        lr: ε.
        real: the variant (sgd or adamw) that trains the real parameters.
        momentum: μ = 1 − γ.
        weight_decay: λ.
        form: average or heavy_ball.
        hold_rate: keep ε_t λ_t while the learning rate decays.
        clip: clamp the latent weights to [−1, 1] after each step.
        init_scale: factor of the initial latent weights.
    """

    lr: Positive
    real: RealVariant
    momentum: ShareBelowOne = 0.0
    weight_decay: NotNegative = 0.0
    form: Form = "average"
    hold_rate: bool = False
    clip: bool = False
    init_scale: NotNegative = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> DecoupledSGD:
        """See BinaryMethod."""
        return DecoupledSGD(parameters, self.lr, self.momentum, self.weight_decay, self.form, self.hold_rate)

    def as_filter(self, factors: FloatArray) -> FilterMap | None:
        """See BinaryMethod; also None with `hold_rate`."""
        if not self.weight_decay or self.hold_rate or self.clip:
            return None
        ones, gamma = np.ones_like(factors), 1 - self.momentum
        inertia = self.weight_decay * (gamma if self.form == "heavy_ball" else 1.0)
        return FilterMap(self.lr * self.weight_decay * factors, gamma * ones, ones, inertia, 0.0)
