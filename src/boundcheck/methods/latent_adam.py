"""Adam and AdamW on latent weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from boundcheck.methods.adamw import AdamWMethod, Betas
from boundcheck.methods.binary_training import BinaryMethod, RealVariant
from boundcheck.settings import NotNegative, Positive, settings


@settings
class LatentAdamWMethod(BinaryMethod):
    """AdamW on the latent weights: w ← w − ελw − ε m̂/(√v̂ + ϵ). A filter of the normalised gradient.

    Args:
        lr: ε.
        real: the variant (sgd or adamw) that trains the real parameters.
        betas: decay rates of the means of g and g².
        eps: ϵ.
        weight_decay: λ, decoupled.
        clip: clamp the latent weights to [−1, 1] after each step.
        init_scale: factor of the initial latent weights.
    """

    lr: Positive
    real: RealVariant
    betas: Betas = (0.9, 0.999)
    eps: NotNegative = 1e-8
    weight_decay: NotNegative = 0.0
    clip: bool = False
    init_scale: NotNegative = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """See BinaryMethod."""
        return AdamWMethod(self.lr, self.betas, self.eps, self.weight_decay).optimizer(nn.ParameterList(parameters))


@settings
class LatentAdamMethod(BinaryMethod):
    """Adam on the latent weights, with λw inside the normalised gradient. It is no filter of g, but magnitude-free.

    Args:
        lr: ε.
        real: the variant (sgd or adamw) that trains the real parameters.
        betas: decay rates of the means of g + λw and its square.
        eps: ϵ.
        weight_decay: λ.
        clip: clamp the latent weights to [−1, 1] after each step.
        init_scale: factor of the initial latent weights.
    """

    lr: Positive
    real: RealVariant
    betas: Betas = (0.9, 0.999)
    eps: NotNegative = 1e-8
    weight_decay: NotNegative = 0.0
    clip: bool = False
    init_scale: NotNegative = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """See BinaryMethod."""
        beta1, beta2 = self.betas
        return torch.optim.Adam(
            parameters, self.lr, (beta1, beta2), self.eps, weight_decay=self.weight_decay, fused=True
        )
