"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from boundcheck.methods.checks import check_number


@dataclass(frozen=True)
class AdamWMethod:
    """torch's AdamW: θ ← θ − ηλθ − η m̂/(√v̂ + ε), with bias-corrected means m̂ of g and v̂ of g².

    Args:
        lr: η.
        betas: decay rates of the two means.
        eps: ε.
        weight_decay: λ, decoupled from the gradient.

    References:
        Loshchilov & Hutter 2019, Decoupled weight decay regularization.
    """

    lr: float
    betas: Sequence[float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("lr", self.lr, "> 0", lambda x: x > 0)
        if isinstance(self.betas, str) or not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise ValueError(f"betas: got {self.betas!r}; allowed: two numbers in [0, 1)")
        for beta in self.betas:
            check_number("betas", beta, "in [0, 1)", lambda x: 0 <= x < 1)
        check_number("eps", self.eps, ">= 0", lambda x: x >= 0)
        check_number("weight_decay", self.weight_decay, ">= 0", lambda x: x >= 0)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> torch.optim.Optimizer:
        """torch's optimizer of all parameters; it works element by element, so a stack needs nothing special."""
        beta1, beta2 = self.betas
        return torch.optim.AdamW(
            model.parameters(),
            lr=self.lr,
            betas=(beta1, beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )
