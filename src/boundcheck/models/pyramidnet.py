"""Pyramidal residual networks of Han, Kim and Kim: every block is slightly wider than the previous one."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from boundcheck.models.convolution import PadChannels, conv, he_initialized, image_channels
from boundcheck.settings import Depth, Ge, Le, settings

FIRST_WIDTH = 16
EXPANSION = 4  # of a bottleneck


class PyramidBlock(nn.Module):
    """F(x) + x. F begins and ends with batch normalisation, and has no ReLU before its first convolution.

    The shortcut has no parameters: with stride 2 it averages 2×2 pixels, and it appends channels of zeros.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out_channels = channels * EXPANSION if bottleneck else channels
        if bottleneck:
            kernels = [(in_channels, channels, 1, 1), (channels, channels, 3, stride), (channels, out_channels, 1, 1)]
        else:
            kernels = [(in_channels, channels, 3, stride), (channels, channels, 3, 1)]
        layers: list[nn.Module] = []
        for i, kernel in enumerate(kernels):
            layers += [nn.BatchNorm2d(kernel[0]), *([nn.ReLU()] if i > 0 else []), conv(*kernel)]
        self.residual = nn.Sequential(*layers, nn.BatchNorm2d(out_channels))
        pool = [nn.AvgPool2d(2, stride, ceil_mode=True)] if stride > 1 else []
        pad = [PadChannels(out_channels - in_channels)] if out_channels > in_channels else []
        self.shortcut = nn.Sequential(*pool, *pad)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, in_channels, h, w) -> (b, out_channels, h / stride, w / stride)."""
        return self.residual(x) + self.shortcut(x)


@settings
class PyramidNet:
    """An additive PyramidNet of N blocks in three stages; block i has round(16 + i α/N) channels, i = 1..N.

    Args:
        depth: 9n + 2 with bottlenecks, 6n + 2 without; N = 3n.
        alpha: α, how much wider the last block is than the first convolution.
        bottleneck: whether a block has a 1×1, a 3×3 and a 1×1 convolution, the last one with four times the channels.

    References:
        Han, Kim, Kim 2017, Deep pyramidal residual networks, arXiv:1610.02915.
    """

    depth: Depth = 110
    alpha: Annotated[float, Ge(0), Le(1_000_000)] = 270
    bottleneck: bool = True
    stackable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.depth < self._layers_per_width + 2 or (self.depth - 2) % self._layers_per_width:
            form = "9n + 2 with bottlenecks" if self.bottleneck else "6n + 2 without bottlenecks"
            raise ValueError(f"depth: got {self.depth}; allowed: {form}")

    @property
    def _layers_per_width(self) -> int:
        return 9 if self.bottleneck else 6

    @property
    def widths(self) -> list[int]:
        """Channels of the first convolution and of the 3×3 convolutions of each block: (N + 1) integers."""
        num_blocks = (self.depth - 2) // self._layers_per_width * 3
        return [round(FIRST_WIDTH + i * self.alpha / num_blocks) for i in range(num_blocks + 1)]

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        channels, expansion = image_channels(input_shape), EXPANSION if self.bottleneck else 1
        per_stage = (len(self.widths) - 1) // 3
        outputs = [FIRST_WIDTH] + [width * expansion for width in self.widths[1:]]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        with torch.device("meta"):
            layers["conv1"] = conv(channels, FIRST_WIDTH, 3)
            layers["bn1"] = nn.BatchNorm2d(FIRST_WIDTH)
            blocks = [
                PyramidBlock(before, after // expansion, 2 if i in (per_stage, 2 * per_stage) else 1, self.bottleneck)
                for i, (before, after) in enumerate(pairwise(outputs))
            ]
            for stage in range(3):
                layers[f"layer{stage + 1}"] = nn.Sequential(*blocks[stage * per_stage : (stage + 1) * per_stage])
            layers["bn_final"] = nn.BatchNorm2d(outputs[-1])
            layers["relu"] = nn.ReLU()
            layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
            layers["flatten"] = nn.Flatten()
            layers["fc"] = nn.Linear(outputs[-1], num_outputs)
        return nn.Sequential(layers)

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU with He's initial values, drawn from the generator."""
        return he_initialized(self.architecture(input_shape, num_outputs), generator)
