"""Bi-Real networks for CIFAR and ImageNet, with a shortcut around every binary convolution."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from boundcheck.models.binary_layers import (
    ActivationGradient,
    BinaryActivation,
    BinaryConv2d,
    BinaryWeight,
    Init,
    Scaling,
    WeightGradient,
    initialize_binary,
)
from boundcheck.models.binary_model import BinaryModel
from boundcheck.models.construction import allocate, initialize_linear
from boundcheck.models.convolution import PadChannels, conv, image_channels
from boundcheck.settings import Positive, Width, settings

CIFARDepth = Literal[8, 14, 20, 32, 44]
Depth = Literal[CIFARDepth, 18, 34]
CIFAR_DEPTHS: tuple[int, ...] = get_args(CIFARDepth)
IMAGENET_LAYERS = {18: (4, 4, 4, 4), 34: (6, 8, 12, 6)}  # binary convolutions of each stage


class BiRealBlock(nn.Module):
    """norm(B * sign(x)) + shortcut(x), with a binary 3×3 convolution B."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module, model: BiRealNet) -> None:
        super().__init__()
        self.sign = BinaryActivation(model.activation_gradient)
        self.conv = BinaryConv2d(in_channels, channels, 3, stride, model.weight_gradient, model.scaling)
        self.bn = nn.BatchNorm2d(channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (b, in_channels, h, w) -> (b, channels, h / stride, w / stride)."""
        return self.bn(self.conv(self.sign(x))) + self.shortcut(x)


@settings
class BiRealNet(BinaryModel):
    """A Bi-Real network.

    Depths 6n + 2 are the networks for CIFAR: a 3×3 convolution, three stages of 2n blocks with one convolution each and
    `width`, 2 `width` and 4 `width` channels, and a linear layer. Depth 20 has 267,264 binary weights. Depths 18 and 34
    are the networks for ImageNet: a 7×7 convolution with stride 2, max-pooling, and four stages. Depth 18 has
    10,985,472 binary weights. The first convolution, normalisations, shortcuts and the last layer are real.

    Args:
        depth: 8, 14, 20, 32, 44 for CIFAR; 18, 34 for ImageNet.
        width: channels of the first stage; None: 16 for CIFAR, 64 for ImageNet.
        shortcut: the shortcut where the size changes. `projection`: average pooling, a real 1×1 convolution and
            normalisation; `pad`: every second pixel, and channels of zeros.
        init: of the latent weights: `uniform` U(−c, c), `zero`, `positive` U(0, c).
        init_scale: c.
        weight_gradient: identity or clipped; see `BinaryWeight`.
        scaling: none, form_1, form_1_dyadic or form_2; see `BinaryWeight`.
        activation_gradient: bireal, clipped or identity.

    References:
        Liu et al. 2018, Bi-Real Net, arXiv:1808.00278.
    """

    depth: Depth
    width: Width | None = None
    shortcut: Literal["projection", "pad"] = "projection"
    init: Init = "uniform"
    init_scale: Positive = 0.001
    weight_gradient: WeightGradient = "identity"
    scaling: Scaling = "none"
    activation_gradient: ActivationGradient = "bireal"
    stackable: ClassVar[bool] = False

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        channels = image_channels(input_shape)
        is_cifar = self.depth in CIFAR_DEPTHS
        width = self.width or (16 if is_cifar else 64)
        stages = ((self.depth - 2) // 3,) * 3 if is_cifar else IMAGENET_LAYERS[self.depth]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        with torch.device("meta"):
            layers["conv1"] = conv(channels, width, 3) if is_cifar else conv(channels, width, 7, 2)
            layers["bn1"] = nn.BatchNorm2d(width)
            if not is_cifar:
                layers["maxpool"] = nn.MaxPool2d(3, 2, padding=1)
            in_channels = width
            for stage, num_blocks in enumerate(stages):
                blocks = []
                for i in range(num_blocks):
                    stride, out_channels = (2 if stage > 0 and i == 0 else 1), width * 2**stage
                    skip = self._shortcut(in_channels, out_channels, stride)
                    blocks.append(BiRealBlock(in_channels, out_channels, stride, skip, self))
                    in_channels = out_channels
                layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
            layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
            layers["flatten"] = nn.Flatten()
            layers["fc"] = nn.Linear(in_channels, num_outputs)
            return nn.Sequential(layers)

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        return binary_initialized(self.architecture(input_shape, num_outputs), self.init, self.init_scale, generator)

    def _shortcut(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        if stride == 1 and in_channels == out_channels:
            return nn.Identity()
        if self.shortcut == "pad":
            return PadChannels(out_channels - in_channels, stride)
        pool = nn.AvgPool2d(stride, ceil_mode=True)  # odd sides are rounded up, as the convolution's are
        return nn.Sequential(pool, conv(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


@torch.no_grad()
def binary_initialized(network: nn.Module, init: Init, scale: float, generator: torch.Generator) -> nn.Module:
    """The network on the CPU: latent weights by `init`, real convolutions by He's rule, other layers as in torch.

    Args:
        network: a network on the meta device.
        init: see `initialize_binary`.
        scale: c, of the latent weights.
        generator: draws every value, in the order of the layers.
    """
    allocate(network)
    for layer in network.modules():
        if isinstance(layer, BinaryWeight):
            initialize_binary(layer, init, scale, generator)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear):
            initialize_linear(layer, generator)
    return network
