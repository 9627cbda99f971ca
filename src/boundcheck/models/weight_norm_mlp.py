"""Fully connected networks with or without normalised rows, which can be trained as a stack of seeds."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from boundcheck.models.construction import allocate
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.settings import Depth, Positive, Width, in_words, settings

Activation = Annotated[
    Literal["tanh", "gelu", "softplus", "silu"],
    in_words("one of tanh, gelu, softplus, silu (ReLU is not smooth: it has no Hessian at 0)"),
]


@settings
class WeightNormMLP:
    """A network with normalised rows in its hidden layers, to which the bounds of the weight-normalisation paper apply.

    The bounds are in `boundcheck.theory.weight_norm.bounds`.

    Args:
        depth: L, number of hidden layers.
        width: m, units of each hidden layer.
        activation: tanh, gelu, softplus or silu; ReLU has no Hessian.
        normalised: false: do not normalise, z^l = s_l W^l a^{l−1}.
        scales: `paper`: s_l = 1/√m_{l−1}; `plain`: 1 for hidden layers, 1/√m_L for the last layer.
        gains: factors of the units of hidden layers: `none`, `fixed` or `trainable`.
        gain: initial value of the gains.
        half_width: c: hidden weights are drawn from U(−c, c); none: c = 1/√fan_in.
        row_norm: if given, all hidden rows are scaled to this norm at the start.
        output_norm: initial norm of each row of V, whose direction is random; none: V is drawn from
            U(−1/√m_L, 1/√m_L) and not scaled.
    """

    depth: Depth
    width: Width
    activation: Activation = "tanh"
    normalised: bool = True
    scales: Literal["paper", "plain"] = "paper"
    gains: Literal["none", "fixed", "trainable"] = "none"
    gain: float = 1.0
    half_width: Positive | None = None
    row_norm: Positive | None = None
    output_norm: Positive | None = 1.0
    stackable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.normalised and self.gains != "none":
            raise ValueError(f"gains: got {self.gains!r} with normalised false; allowed: none")
        if self.gain == 0 or (self.gains == "none" and self.gain != 1):
            raise ValueError(f"gain: got {self.gain}; allowed: a number that is not 0; only 1 if gains is none")

    @property
    def normalises_rows(self) -> bool:
        """Whether the hidden layers' rows are normalised."""
        return self.normalised

    @property
    def outside_theory(self) -> str | None:
        """How it differs from the paper's network, as the reason why theorems do not apply; None: it does not."""
        differences = {
            "its rows are not normalised": not self.normalised,
            f"it has {self.gains} gains": self.gains != "none",
            f"its scales are {self.scales}, not the paper's": self.scales != "paper",
        }
        return " and ".join(text for text, differs in differences.items() if differs) or None

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> WeightNormNetwork:
        """The network on the meta device, which has shapes but no values."""
        sizes = [self.width] * self.depth
        fan_ins = [math.prod(input_shape), *sizes]
        plain = [1.0] * self.depth + [1 / math.sqrt(self.width)]
        scales = plain if self.scales == "plain" else [1 / math.sqrt(m) for m in fan_ins]
        with torch.device("meta"):
            return WeightNormNetwork(
                input_shape, [*sizes, num_outputs], self.activation, scales, self.normalised, self.gains
            )

    @torch.no_grad()
    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> WeightNormNetwork:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        network = self.architecture(input_shape, num_outputs)
        allocate(network)
        for layer in network.layers:
            self._draw(layer.weight, self.half_width, self.row_norm, generator)
            if layer.gain is not None:
                layer.gain.fill_(self.gain)
        self._draw(network.output, None, self.output_norm, generator)
        return network

    def _draw(
        self, weight: Tensor, half_width: float | None, row_norm: float | None, generator: torch.Generator
    ) -> None:
        bound = 1 / math.sqrt(weight.shape[-1]) if half_width is None else half_width
        weight.uniform_(-bound, bound, generator=generator)
        if row_norm is not None:
            weight.mul_(row_norm / torch.linalg.vector_norm(weight, dim=-1, keepdim=True))
