"""Residual networks of He et al. for CIFAR (depth 6n + 2) and ImageNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from boundcheck.models.convolution import PadChannels, conv, he_initialized, image_channels
from boundcheck.settings import Width, settings

CIFARDepth = Literal[8, 14, 20, 32, 44, 56, 110]
Depth = Literal[CIFARDepth, 18, 34, 50, 101, 152]
CIFAR_DEPTHS: tuple[int, ...] = get_args(CIFARDepth)
IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
LARGEST_CIFAR_STEM = 64  # pixels; larger images get the stem for ImageNet by default


class BasicBlock(nn.Module):
    """relu(F(x) + shortcut(x)), where F is two 3×3 convolutions."""

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, in_channels, h, w) -> (b, channels, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """relu(F(x) + shortcut(x)), where F is a 1×1, a 3×3 (with the stride) and a 1×1 convolution."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv(channels, channels * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, in_channels, h, w) -> (b, 4 channels, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


@settings
class ResNet:
    """A residual network.

    Depths 6n + 2 up to 110 are the networks for CIFAR: three stages of `width`, 2 `width` and 4 `width` channels, and
    shortcuts without parameters (option A: every second pixel, and channels of zeros). Depths 18, 34, 50, 101 and 152
    are the networks for ImageNet: four stages, and shortcuts with 1×1 projections (option B). In a bottleneck, the 3×3
    convolution has the stride. Their parameters have torchvision's names.

    Args:
        depth: number of layers with weights.
        width: channels of the first stage; None: 16 for CIFAR, 64 for ImageNet.
        stem: `cifar`: a 3×3 convolution; `imagenet`: a 7×7 convolution with stride 2 and max-pooling; None: `cifar` for
            images of at most 64 pixels, else `imagenet`. The networks for CIFAR always have the stem `cifar`.
        zero_init_residual: initialise the last batch normalisation of every block with 0, so that the block is the
            identity.

    References:
        He, Zhang, Ren, Sun 2016, Deep residual learning for image recognition, arXiv:1512.03385.
    """

    depth: Depth
    width: Width | None = None
    stem: Literal["cifar", "imagenet"] | None = None
    zero_init_residual: bool = False
    stackable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.depth in CIFAR_DEPTHS and self.stem == "imagenet":
            raise ValueError(f"stem: got 'imagenet' with depth {self.depth}; allowed: cifar or null")

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        channels = image_channels(input_shape)
        with torch.device("meta"):
            if self.depth in CIFAR_DEPTHS:
                num_blocks = ((self.depth - 2) // 6,) * 3
                return _network(BasicBlock, num_blocks, self.width or 16, channels, num_outputs, "cifar", _option_a)
            stem = self.stem or ("cifar" if max(input_shape[1:]) <= LARGEST_CIFAR_STEM else "imagenet")
            block = BasicBlock if self.depth < 50 else Bottleneck
            return _network(
                block, IMAGENET_BLOCKS[self.depth], self.width or 64, channels, num_outputs, stem, _option_b
            )

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU with He's initial values, drawn from the generator."""
        network = he_initialized(self.architecture(input_shape, num_outputs), generator)
        if self.zero_init_residual:
            for block in network.modules():
                if isinstance(block, BasicBlock | Bottleneck):
                    last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
                    nn.init.zeros_(last.weight)
        return network


def _option_a(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    return PadChannels(out_channels - in_channels, stride)


def _option_b(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


def _network(
    block: type[BasicBlock] | type[Bottleneck],
    blocks: Sequence[int],
    width: int,
    channels: int,
    num_outputs: int,
    stem: str,
    shortcut: Callable[[int, int, int], nn.Module],
) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = conv(channels, width, 7, 2) if stem == "imagenet" else conv(channels, width, 3)
    layers["bn1"] = nn.BatchNorm2d(width)
    layers["relu"] = nn.ReLU()
    if stem == "imagenet":
        layers["maxpool"] = nn.MaxPool2d(3, 2, padding=1)
    in_channels = width
    for stage, num_blocks in enumerate(blocks):
        stage_channels, stage_blocks = width * 2**stage, []
        for i in range(num_blocks):
            stride, out_channels = (2 if stage > 0 and i == 0 else 1), stage_channels * block.expansion
            resized = stride > 1 or in_channels != out_channels
            skip = shortcut(in_channels, out_channels, stride) if resized else None
            stage_blocks.append(block(in_channels, stage_channels, stride, skip))
            in_channels = out_channels
        layers[f"layer{stage + 1}"] = nn.Sequential(*stage_blocks)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(in_channels, num_outputs)
    return nn.Sequential(layers)
