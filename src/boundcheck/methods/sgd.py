"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from boundcheck.methods.checks import check_choice, check_number


@dataclass(frozen=True)
class SGDMethod:
    """torch's SGD: b ← μ b + (1 − τ)(g + λθ), θ ← θ − η b; with Nesterov momentum θ ← θ − η (g + λθ + μ b).

    Args:
        lr: η.
        momentum: μ.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: λ, coupled: part of the gradient.
        dampening: τ, from the second step on.
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    dampening: float = 0.0

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("lr", self.lr, "> 0", lambda x: x > 0)
        check_number("momentum", self.momentum, "in [0, 1)", lambda x: 0 <= x < 1)
        check_number("weight_decay", self.weight_decay, ">= 0", lambda x: x >= 0)
        check_number("dampening", self.dampening, "in [0, 1]", lambda x: 0 <= x <= 1)
        check_choice("nesterov", self.nesterov, (False, True))
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov: got True; allowed: False, or True with momentum > 0 and dampening 0")

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> torch.optim.Optimizer:
        """torch's optimizer of all parameters; it works element by element, so a stack needs nothing special."""
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            dampening=self.dampening,
            fused=True,
        )
