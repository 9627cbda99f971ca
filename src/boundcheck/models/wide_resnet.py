"""Wide residual networks of Zagoruyko and Komodakis (pre-activation, without dropout)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from boundcheck.models.convolution import conv, he_initialized, image_channels
from boundcheck.settings import Depth, Ge, Le, Width, settings


class PreActivationBlock(nn.Module):
    """F(a) + shortcut, with a = relu(bn(x)). F has two 3×3 convolutions, with batch normalisation and ReLU before each.

    The shortcut is x, or a 1×1 convolution of a if the shape changes.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.relu = nn.ReLU()
        resized = stride > 1 or in_channels != channels
        self.shortcut = conv(in_channels, channels, 1, stride) if resized else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, in_channels, h, w) -> (b, channels, h / stride, w / stride)."""
        activated = self.relu(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(self.conv1(activated))))
        return out + (x if self.shortcut is None else self.shortcut(activated))


@settings
class WideResNet:
    """WRN-d-k: three stages of k w, 2 k w and 4 k w channels.

    Args:
        depth: d = 6n + 4, layers with weights.
        widen: k.
        base_width: w, the channels of the first convolution.

    References:
        Zagoruyko, Komodakis 2016, Wide residual networks, arXiv:1605.07146.
    """

    depth: Depth
    widen: Annotated[int, Ge(1), Le(1000)]
    base_width: Width = 16
    stackable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.depth < 10 or self.depth % 6 != 4:
            raise ValueError(f"depth: got {self.depth}; allowed: 6n + 4 (10, 16, 22, 28, ...)")

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        channels = image_channels(input_shape)
        widths = [self.base_width] + [self.base_width * self.widen * 2**stage for stage in range(3)]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        with torch.device("meta"):
            layers["conv1"] = conv(channels, widths[0], 3)
            for stage in (1, 2, 3):
                first = PreActivationBlock(widths[stage - 1], widths[stage], stride=1 if stage == 1 else 2)
                others = (PreActivationBlock(widths[stage], widths[stage], 1) for _ in range((self.depth - 4) // 6 - 1))
                layers[f"layer{stage}"] = nn.Sequential(first, *others)
            layers["bn"] = nn.BatchNorm2d(widths[-1])
            layers["relu"] = nn.ReLU()
            layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
            layers["flatten"] = nn.Flatten()
            layers["fc"] = nn.Linear(widths[-1], num_outputs)
        return nn.Sequential(layers)

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU with He's initial values, drawn from the generator."""
        return he_initialized(self.architecture(input_shape, num_outputs), generator)
