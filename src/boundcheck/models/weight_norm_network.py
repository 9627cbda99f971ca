"""The network of the weight-normalisation paper (one or a stack), and its parameters in the form the theory uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from boundcheck.models.mlp import ACTIVATIONS
from boundcheck.theory.weight_norm.activation import smooth_activation
from boundcheck.theory.weight_norm.network import Network


class ScaledLinear(nn.Module):
    """x ↦ s c ∘ Ux, where U has the rows of W divided by their norms, or x ↦ s Wx; for one network or a stack of k.

    Args:
        in_features, out_features: n and m; `weight` is (m, n), of a stack (k, m, n).
        scale: s.
        normalised: whether rows are divided by their norms.
        gains: `none`: c = 1; `fixed`: a buffer `gain` (m,); `trainable`: a parameter.
    """

    gain: Tensor | None

    def __init__(self, in_features: int, out_features: int, scale: float, normalised: bool, gains: str) -> None:
        super().__init__()
        self.scale, self.normalised = scale, normalised
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.register_buffer("gain", torch.empty(out_features) if gains == "fixed" else None)
        if gains == "trainable":
            self.gain = nn.Parameter(torch.empty(out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (..., n) -> (..., m); of a stack, inputs (b, n) or (k, b, n) -> (k, b, m)."""
        outputs = inputs @ self.weight.mT  # (b, m) or (k, b, m)
        if not self.normalised:
            return self.scale * outputs
        factor = self.scale / torch.linalg.vector_norm(self.weight, dim=-1)  # (m,) or (k, m)
        if self.gain is not None:
            factor = factor * self.gain
        return outputs * factor.unsqueeze(-2)


class WeightNormNetwork(nn.Module):
    """x ↦ s_{L+1} V φ(s_L c_L ∘ U^L φ(⋯ φ(s_1 c_1 ∘ U¹ x))), with the inputs flattened; no biases.

    Args:
        input_shape: shape of one example; leading axes are the batch and the stack.
        sizes: m_1 … m_L and the number of outputs.
        activation: φ, smooth.
        scales: s_1 … s_{L+1}.
        normalised: whether the rows of the hidden layers are divided by their norms; the rows of V never are.
        gains: see `ScaledLinear`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        sizes: Sequence[int],
        activation: str,
        scales: Sequence[float],
        normalised: bool = True,
        gains: str = "none",
    ) -> None:
        super().__init__()
        self.num_input_dims = len(input_shape)
        self.activation_name, self.gains = activation, gains
        self.activation = ACTIVATIONS[activation]()
        features = [*pairwise([math.prod(input_shape), *sizes])]
        self.hidden = nn.ModuleList(
            ScaledLinear(n, m, s, normalised, gains) for (n, m), s in zip(features[:-1], scales[:-1], strict=True)
        )
        self.last = ScaledLinear(*features[-1], scales[-1], normalised=False, gains="none")

    @property
    def layers(self) -> list[ScaledLinear]:
        """The hidden layers."""
        return cast("list[ScaledLinear]", [*self.hidden])

    @property
    def output(self) -> Tensor:
        """V (..., K, m_L)."""
        return self.last.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (b, *input_shape) -> (b, K); of a stack, (b, ...) or (k, b, ...) -> (k, b, K)."""
        x = inputs.flatten(-self.num_input_dims)
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.last(x)

    def theory(self, output: Tensor | None = None) -> Network:
        """A float64 copy of θ in the form that `boundcheck.theory` uses.

        Args:
            output: v, to be used instead of V; see `theory.weight_norm.network.Network`. By default V, which suffices
                for norms.
        """
        gains = None if self.gains == "none" else [_copy(cast(Tensor, layer.gain)) for layer in self.layers]
        return Network(
            weights=[_copy(layer.weight) for layer in self.layers],
            output=_copy(self.output if output is None else output),
            activation=smooth_activation(self.activation_name),
            scales=[*(layer.scale for layer in self.layers), self.last.scale],
            gains=gains,
            trainable_gains=self.gains == "trainable",
            normalised=self.layers[0].normalised,
        )


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64, copy=True)
