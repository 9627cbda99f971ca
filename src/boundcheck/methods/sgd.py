"""Stochastic gradient descent."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from boundcheck.settings import NotNegative, Positive, Share, ShareBelowOne, settings


@settings
class SGDMethod:
    """torch's SGD: b ← μ b + (1 − τ)(g + λθ), θ ← θ − η b; with Nesterov momentum θ ← θ − η (g + λθ + μ b).

    Args:
        lr: η.
        momentum: μ.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: λ, coupled: part of the gradient.
        dampening: τ, from the second step on.
    """

    lr: Positive
    momentum: ShareBelowOne = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0
    dampening: Share = 0.0

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov: got True; allowed: False, or True with momentum > 0 and dampening 0")

    @property
    def follows(self) -> Literal["gradient", "past gradients"] | None:
        """The direction of a step; None with weight decay or Nesterov momentum."""
        if self.weight_decay or self.nesterov:
            return None
        return "past gradients" if self.momentum else "gradient"

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> torch.optim.Optimizer:
        """torch's optimizer of all parameters. It works element by element, so it also trains a stack."""
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            dampening=self.dampening,
            fused=True,
        )
