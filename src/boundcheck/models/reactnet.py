"""ReActNet-A: MobileNet's layout with binary convolutions, learnt thresholds, and shortcuts around convolutions."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from boundcheck.models.binary_layers import (
    ActivationGradient,
    BinaryActivation,
    BinaryConv2d,
    Init,
    Scaling,
    WeightGradient,
)
from boundcheck.models.binary_model import BinaryModel
from boundcheck.models.birealnet import binary_initialized
from boundcheck.models.convolution import conv, image_channels
from boundcheck.settings import Positive, Width, settings

WIDTHS = (1, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32)  # in units of the first


class Shift(nn.Module):
    """x + β, one β per channel: a learnt threshold before a sign or a PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        """β = 0."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, h, w)."""
        return x + self.bias[:, None, None]


class ReActBlock(nn.Module):
    """Two binary convolutions, 3×3 with the stride and 1×1, each with shift, sign, normalisation and shortcut.

    If the block doubles its channels, it has two 1×1 convolutions in parallel and concatenates their outputs.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, model: ReActNet) -> None:
        super().__init__()
        settings = model.weight_gradient, model.scaling
        self.sign = BinaryActivation(model.activation_gradient)
        self.shift1 = Shift(in_channels)
        self.conv1 = BinaryConv2d(in_channels, in_channels, 3, stride, *settings)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.shortcut = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.react1 = nn.Sequential(Shift(in_channels), nn.PReLU(in_channels), Shift(in_channels))
        self.shift2 = Shift(in_channels)
        num = channels // in_channels
        self.conv2 = nn.ModuleList(BinaryConv2d(in_channels, in_channels, 1, 1, *settings) for _ in range(num))
        self.bn2 = nn.ModuleList(nn.BatchNorm2d(in_channels) for _ in range(num))
        self.react2 = nn.Sequential(Shift(channels), nn.PReLU(channels), Shift(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, channels, h / stride, w / stride)."""
        x = self.react1(self.bn1(self.conv1(self.sign(self.shift1(x)))) + self.shortcut(x))
        bits = self.sign(self.shift2(x))
        parts = [bn(convolution(bits)) + x for convolution, bn in zip(self.conv2, self.bn2, strict=True)]
        return self.react2(torch.cat(parts, 1))


@settings
class ReActNet(BinaryModel):
    """ReActNet-A. With `width` 32 and images of ImageNet it has 28,253,184 binary weights in 31 convolutions.

    Args:
        width: channels of the first block.
        init: of the latent weights: `uniform` U(−c, c), `zero`, `positive` U(0, c), which its authors' code does.
        init_scale: c.
        weight_gradient: identity or clipped; see `BinaryWeight`.
        scaling: none, form_1, form_1_dyadic or form_2 (its authors'); see `BinaryWeight`.
        activation_gradient: bireal, clipped or identity.

    References:
        Liu et al. 2020, ReActNet, arXiv:2003.03488.
    """

    width: Width = 32
    init: Init = "uniform"
    init_scale: Positive = 0.001
    weight_gradient: WeightGradient = "identity"
    scaling: Scaling = "none"
    activation_gradient: ActivationGradient = "bireal"
    stackable: ClassVar[bool] = False

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        channels = image_channels(input_shape)
        widths = [self.width * unit for unit in WIDTHS]
        with torch.device("meta"):
            blocks = []
            for number, (before, after) in enumerate(pairwise(widths)):
                stride = 2 if before != after and number > 0 else 1
                blocks.append(ReActBlock(before, after, stride, self))
            stem = [conv(channels, self.width, 3, 2), nn.BatchNorm2d(self.width)]
            head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], num_outputs)]
            return nn.Sequential(*stem, *blocks, *head)

    @torch.no_grad()
    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        network = binary_initialized(self.architecture(input_shape, num_outputs), self.init, self.init_scale, generator)
        for layer in network.modules():
            if isinstance(layer, Shift):
                layer.reset_parameters()
            elif isinstance(layer, nn.PReLU):
                nn.init.constant_(layer.weight, 0.25)
        return network
