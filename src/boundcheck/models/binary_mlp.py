"""Fully connected networks with binary weights and activations, which can be trained as a stack of seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from boundcheck.models.binary_layers import (
    ActivationGradient,
    BinaryActivation,
    BinaryLinear,
    Init,
    Scaling,
    WeightGradient,
    initialize_binary,
)
from boundcheck.models.binary_model import BinaryModel
from boundcheck.models.construction import allocate, initialize_linear
from boundcheck.models.mlp import StackableLinear
from boundcheck.settings import Depth, Positive, Width, settings


class StackableBatchNorm(nn.Module):
    """Batch normalisation of features (..., b, f), for one network or for a stack of k.

    y = γ (x − mean)/√(var + ϵ) + β, with the statistics of the batch in training and running ones in evaluation.

    Args:
        features: f.
        eps: ϵ.
        momentum: weight of the newest batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, running mean 0, running variance 1."""
        for tensor, value in ((self.weight, 1), (self.bias, 0), (self.running_mean, 0), (self.running_var, 1)):
            nn.init.constant_(tensor, value)

    def reset_running_stats(self) -> None:
        """Running mean 0, running variance 1."""
        nn.init.zeros_(self.running_mean)
        nn.init.ones_(self.running_var)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f) -> (b, f); of a stack, (k, b, f) -> (k, b, f).

        Raises:
            ValueError: a batch of one in training: every feature would be its own mean.
        """
        mean, var = self.running_mean, self.running_var  # (..., f)
        if self.training:
            if x.shape[-2] == 1:
                raise ValueError("a batch of one example; batch normalisation needs two or more in training")
            var, mean = torch.var_mean(x, dim=-2, correction=0)
            with torch.no_grad():
                n = x.shape[-2]
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * (n / max(n - 1, 1)), self.momentum)
        gain = self.weight * torch.rsqrt(var + self.eps)
        return x * gain.unsqueeze(-2) + (self.bias - mean * gain).unsqueeze(-2)


class BinaryMLPNetwork(nn.Module):
    """x ↦ real(sign(norm(B_{L−1} ⋯ sign(norm(B_0 x))))), with binary matrices B and a real last layer."""

    def __init__(self, input_shape: tuple[int, ...], widths: Sequence[int], num_outputs: int, model: BinaryMLP) -> None:
        super().__init__()
        self.num_input_dims = len(input_shape)
        sizes = list(pairwise([math.prod(input_shape), *widths]))
        self.layers = nn.ModuleList(BinaryLinear(m, n, model.weight_gradient, model.scaling) for m, n in sizes)
        self.norms = nn.ModuleList(StackableBatchNorm(n, model.batch_norm_eps) for _, n in sizes)
        self.activation = BinaryActivation(model.activation_gradient)
        self.last = StackableLinear(widths[-1], num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (b, *input_shape) -> (b, outputs); of a stack, (b, ...) or (k, b, ...) -> (k, b, outputs)."""
        x = inputs.flatten(-self.num_input_dims)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        return self.last(x)


@settings
class BinaryMLP(BinaryModel):
    """A fully connected network with binary hidden layers.

    Args:
        depth: hidden layers.
        width: units of each.
        init: of the latent weights: `uniform` U(−c, c), `zero`, `positive` U(0, c).
        init_scale: c.
        weight_gradient: identity or clipped; see `BinaryWeight`.
        scaling: none, form_1, form_1_dyadic or form_2; see `BinaryWeight`.
        activation_gradient: bireal, clipped or identity.
        batch_norm_eps: ϵ; because of it, the magnitude of scaled layers does not cancel completely.

    References:
        Courbariaux et al. 2016, Binarized neural networks, arXiv:1602.02830.
    """

    depth: Depth
    width: Width
    init: Init = "uniform"
    init_scale: Positive = 0.1
    weight_gradient: WeightGradient = "identity"
    scaling: Scaling = "none"
    activation_gradient: ActivationGradient = "bireal"
    batch_norm_eps: Positive = 1e-5
    stackable: ClassVar[bool] = True

    @property
    def normalisation_eps(self) -> float:
        """See BinaryModel."""
        return self.batch_norm_eps

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        with torch.device("meta"):
            return BinaryMLPNetwork(input_shape, [self.width] * self.depth, num_outputs, self)

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        network = allocate(self.architecture(input_shape, num_outputs))
        for layer in network.modules():
            if isinstance(layer, BinaryLinear):
                initialize_binary(layer, self.init, self.init_scale, generator)
            elif isinstance(layer, StackableBatchNorm):
                layer.reset_parameters()
            elif isinstance(layer, nn.Linear):
                initialize_linear(layer, generator)
        return network
