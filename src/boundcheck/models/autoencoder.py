"""Autoencoders with skip connections inside the encoder and the decoder, and sequential ones to compare with."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from boundcheck.models.construction import allocate
from boundcheck.models.dag_net import Activation, described, initialize
from boundcheck.models.dag_topology import Parents, autoencoder_dag, num_parameters, sequential
from boundcheck.settings import MaxLen, MinLen, NotNegative, Width, settings


@settings
class Autoencoder:
    """An autoencoder with layers input – `widths` – `code` – `widths` reversed – output, and optional skip connections.

    Args:
        code: units of the code.
        widths: units of the encoder's hidden layers; the decoder has them in reverse order.
        skips: `none`: a sequential network; `inside`: encoder and decoder are each a complete DAG. No edge bypasses the
            code.
        matched: with `skips: none`: widen the hidden layers by a common factor, so that the network has at most as
            many parameters as the one with skips, but as many as possible.
        activation: activation of the hidden layers and the code: sigmoid, tanh or linear.
        output: activation of the output layer.
        bias: whether the layers have biases.
        init_scale: as of `DAGNet`.
    """

    code: Width
    widths: Annotated[Sequence[Width], MinLen(1), MaxLen(100)] = (24, 12)
    skips: Literal["none", "inside"] = "inside"
    matched: bool = False
    activation: Activation = "tanh"
    output: Activation = "sigmoid"
    bias: bool = True
    init_scale: NotNegative = 1.0
    stackable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.matched and self.skips != "none":
            raise ValueError("matched: got True; allowed: True only with skips 'none'")

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        num_encoder = len(self.widths) + 1
        with_skips = autoencoder_dag(num_encoder, num_encoder)
        parents = with_skips if self.skips == "inside" else sequential(2 * num_encoder)
        ends = math.prod(input_shape), num_outputs
        widths = self._layer_widths(self.widths, *ends)
        if self.matched:
            widths = self._matched_widths(num_parameters(widths, with_skips, self.bias), parents, *ends)
        return described(input_shape, widths, parents, self.activation, self.output, self.bias, num_encoder)

    @torch.no_grad()
    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        return initialize(allocate(self.architecture(input_shape, num_outputs)), generator, self.init_scale)

    def _layer_widths(self, hidden: Sequence[int], num_inputs: int, num_outputs: int) -> list[int]:
        return [num_inputs, *hidden, self.code, *reversed(hidden), num_outputs]

    def _matched_widths(self, budget: int, parents: Parents, num_inputs: int, num_outputs: int) -> list[int]:
        """The layer widths of the widest network with at most `budget` parameters."""

        def widened(first: int) -> list[int]:
            hidden = [round(width * first / self.widths[0]) for width in self.widths]
            return self._layer_widths(hidden, num_inputs, num_outputs)

        firsts = range(self.widths[0] + 1, budget + 1)
        num_fitting = bisect_right(firsts, budget, key=lambda first: num_parameters(widened(first), parents, self.bias))
        return widened(self.widths[0] + num_fitting)
