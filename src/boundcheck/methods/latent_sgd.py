"""SGD on latent weights: torch's, and the one whose momentum is an average and whose decay is decoupled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from boundcheck.methods.binary_training import BinaryMethod
from boundcheck.methods.checks import check_choice, check_number
from boundcheck.methods.sgd import SGDMethod


@dataclass(frozen=True)
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
        init_scale: what the initial latent weights are multiplied by.
    """

    lr: float
    real: Mapping[str, Any]
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: bool = False
    init_scale: float = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """See BinaryMethod."""
        check_choice("clip", self.clip, (False, True))
        method = SGDMethod(self.lr, self.momentum, self.nesterov, self.weight_decay, self.dampening)
        return method.optimizer(nn.ParameterList(parameters))


class DecoupledSGD(Optimizer):
    """SGD with weight decay outside the momentum: w ← (1 − ε_t λ_t) w − ε_t m.

    `average`: m ← (1−γ) m + γ g, γ = 1−μ. `heavy_ball`: m ← μ m + g, 1/(1−μ) times as large.

    Args:
        params: parameters or groups.
        lr: ε.
        momentum: μ in [0, 1).
        weight_decay: λ.
        form: average or heavy_ball.
        hold_rate: let λ_t = λ ε_0/ε_t, so that ε_t λ_t stays while the learning rate decays.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        form: Literal["average", "heavy_ball"] = "average",
        hold_rate: bool = False,
    ) -> None:
        check_number("lr", lr, "> 0", lambda x: x > 0)
        check_number("momentum", momentum, "in [0, 1)", lambda x: 0 <= x < 1)
        check_number("weight_decay", weight_decay, ">= 0", lambda x: x >= 0)
        check_choice("form", form, ("average", "heavy_ball"))
        check_choice("hold_rate", hold_rate, (False, True))
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "form": form, "hold_rate": hold_rate}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what the closure returned."""
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


@dataclass(frozen=True)
class LatentDecoupledSGDMethod(BinaryMethod):
    """`DecoupledSGD` on the latent weights: the form whose learning-rate decay is a decay of α and nothing else.

    Args:
        lr: ε.
        real: the variant (sgd or adamw) that trains the real parameters.
        momentum: μ = 1 − γ.
        weight_decay: λ.
        form: average or heavy_ball.
        hold_rate: keep ε_t λ_t while the learning rate decays.
        clip: clamp the latent weights to [−1, 1] after each step.
        init_scale: what the initial latent weights are multiplied by.
    """

    lr: float
    real: Mapping[str, Any]
    momentum: float = 0.0
    weight_decay: float = 0.0
    form: Literal["average", "heavy_ball"] = "average"
    hold_rate: bool = False
    clip: bool = False
    init_scale: float = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> DecoupledSGD:
        """See BinaryMethod."""
        check_choice("clip", self.clip, (False, True))
        return DecoupledSGD(parameters, self.lr, self.momentum, self.weight_decay, self.form, self.hold_rate)
