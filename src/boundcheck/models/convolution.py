"""Common code of the convolutional networks: layers, a shortcut without parameters, and He's initial values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.models.construction import allocate, initialize_linear

SMALLEST_IMAGE = 8  # pixels; two remain after halving twice, so that batch normalisation has a variance


def image_channels(input_shape: tuple[int, ...]) -> int:
    """The number of channels of images (channels, height, width).

    Raises:
        ValueError: the inputs are not images, or too small for halving and batch normalisation.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST_IMAGE:
        allowed = f"(channels, height, width) with sides of at least {SMALLEST_IMAGE} pixels"
        raise ValueError(f"input_shape: got {input_shape}; allowed: {allowed}")
    return input_shape[0]


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias. It keeps the size of the image, divided by its stride."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class PadChannels(nn.Module):
    """Takes every `stride`-th pixel, and appends `extra` channels of zeros."""

    def __init__(self, extra: int, stride: int = 1) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, images: Tensor) -> Tensor:
        """Images (b, c, h, w) -> (b, c + extra, h / stride, w / stride), rounded up."""
        return F.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """The text that `print` shows."""
        return f"extra={self.extra}, stride={self.stride}"


@torch.no_grad()
def he_initialized(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """The network on the CPU with the initial values of He et al.

    Convolutions N(0, 2 / (k² c_out)), batch normalisation 1 and 0 (running statistics 0 and 1), linear layers as
    torch does by default.

    Args:
        network: a network on the meta device.
        generator: draws every value, in the order of the layers.

    References:
        He, Zhang, Ren, Sun 2015, Delving deep into rectifiers, arXiv:1502.01852, eq. 14.
    """
    allocate(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear):
            initialize_linear(layer, generator)
    return network
