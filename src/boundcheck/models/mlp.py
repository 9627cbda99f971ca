"""Fully connected networks, which can be trained as a stack of seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.models.construction import allocate, initialize_linear
from boundcheck.settings import Ge, Le, NotNegative, Width, settings

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
}


class StackableLinear(nn.Linear):
    """xWᵀ + b, for one network or a stack of k. With a stack, `weight` has three dimensions."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (..., in) -> (..., out); of a stack, inputs (b, in) or (k, b, in) -> (k, b, out)."""
        if self.weight.dim() == 2:
            return F.linear(inputs, self.weight, self.bias)
        if inputs.dim() == 2:
            inputs = inputs.expand(len(self.weight), -1, -1)
        if self.bias is None:
            return inputs @ self.weight.mT
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.mT)  # (k, b, out)


class MLPNetwork(nn.Module):
    """x ↦ W_L φ(W_{L−1} ⋯ φ(W_0 x + b_0) ⋯ + b_{L−1}) + b_L, with the inputs flattened.

    Args:
        input_shape: shape of one example; leading axes are the batch and the stack.
        sizes: units of the hidden layers, and number of outputs.
        activation: φ.
        bias: whether the layers have biases b_l.
    """

    def __init__(self, input_shape: tuple[int, ...], sizes: Sequence[int], activation: nn.Module, bias: bool) -> None:
        super().__init__()
        self.num_input_dims = len(input_shape)
        self.activation = activation
        features = pairwise([math.prod(input_shape), *sizes])
        self.layers = nn.ModuleList(StackableLinear(m, n, bias) for m, n in features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (b, *input_shape) -> (b, outputs); of a stack, (b, ...) or (k, b, ...) -> (k, b, outputs)."""
        x = inputs.flatten(-self.num_input_dims)
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


@settings
class MLP:
    """A fully connected network.

    Args:
        depth: number of hidden layers; 0 is a linear model.
        width: units of each hidden layer.
        activation: tanh, gelu, softplus, silu or relu.
        bias: whether the layers have biases.
        init: `uniform`, weights and biases U(−1/√fan_in, 1/√fan_in), is torch's default. With biases 0: `normal`,
            N(0, 1/fan_in); `he`, N(0, 2/fan_in); `xavier`, U(−a, a) where a² = 6/(fan_in + fan_out).
        init_scale: factor of all initial values.
    """

    depth: Annotated[int, Ge(0), Le(1000)]
    width: Width
    activation: Literal["tanh", "gelu", "softplus", "silu", "relu"] = "tanh"
    bias: bool = True
    init: Literal["uniform", "normal", "he", "xavier"] = "uniform"
    init_scale: NotNegative = 1.0
    stackable: ClassVar[bool] = True

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        sizes = [self.width] * self.depth + [num_outputs]
        with torch.device("meta"):
            return MLPNetwork(input_shape, sizes, ACTIVATIONS[self.activation](), self.bias)

    @torch.no_grad()
    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        network = allocate(self.architecture(input_shape, num_outputs))
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                self._initialize(layer, generator)
        for parameter in network.parameters():
            parameter.mul_(self.init_scale)
        return network

    def _initialize(self, layer: nn.Linear, generator: torch.Generator) -> None:
        if self.init == "uniform":
            initialize_linear(layer, generator)
            return
        if self.init == "xavier":
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        else:
            variance = {"normal": 1, "he": 2}[self.init] / layer.in_features
            layer.weight.normal_(0, math.sqrt(variance), generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
