"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from torch import nn

from boundcheck.settings import Len, NotNegative, Positive, ShareBelowOne, settings

Betas = Annotated[Sequence[ShareBelowOne], Len(2, 2)]


@settings
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

    lr: Positive
    betas: Betas = (0.9, 0.999)
    eps: NotNegative = 1e-8
    weight_decay: NotNegative = 0.01

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> torch.optim.Optimizer:
        """torch's optimizer of all parameters. It works element by element, so it also trains a stack."""
        beta1, beta2 = self.betas
        return torch.optim.AdamW(
            model.parameters(),
            lr=self.lr,
            betas=(beta1, beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )
