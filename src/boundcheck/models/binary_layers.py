"""Layers with binary weights and activations, and functions that find the binary parameters of a network.

sign(0) = +1, so that every weight is ±1. A layer's `weight` may be latent (any number) or already binary (±1); the
forward pass takes its sign in both cases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.models.mlp import StackableLinear

Init = Literal["uniform", "zero", "positive"]
WeightGradient = Literal["identity", "clipped"]
Scaling = Literal["none", "form_1", "form_1_dyadic", "form_2"]
ActivationGradient = Literal["bireal", "clipped", "identity"]


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0 (also at 0 and −0), else −1."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class _BinaryWeight(torch.autograd.Function):
    """b = sign(w), or s b with a scale s.

    Backward: ∂L/∂w is ∂L/∂b (form 1) or the gradient of the output; where |w| > 1 it is 0 if clipped.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor, scale: Tensor | None, clipped: bool, form_1: bool) -> Tensor:
        """The bits ±1, or ±s with a scale; the shape of w."""
        ctx.clipped, ctx.form_1 = clipped, form_1
        ctx.save_for_backward(w if clipped else None, scale)
        bits = sign(w)
        return bits if scale is None else scale * bits

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """∂L/∂w from the gradient of the output."""
        w, scale = ctx.saved_tensors
        if ctx.form_1:
            gradient = scale * gradient
        if ctx.clipped:
            gradient = gradient * (w.abs() <= 1)
        return gradient, None, None, None


class _BinaryActivation(torch.autograd.Function):
    """sign(x), with the derivative 2 − 2|x| for |x| < 1 (`bireal`), 1 for |x| < 1 (`clipped`), or 1 (`identity`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, derivative: str) -> Tensor:
        """sign(x); the shape of x."""
        ctx.derivative = derivative
        ctx.save_for_backward(x if derivative != "identity" else None)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """∂L/∂x from the gradient of the output."""
        (x,) = ctx.saved_tensors
        if ctx.derivative == "bireal":
            gradient = gradient * (2 - 2 * x.abs()).clamp_min(0)
        elif ctx.derivative == "clipped":
            gradient = gradient * (x.abs() < 1)
        return gradient, None


class BinaryActivation(nn.Module):
    """sign(x); its derivative in the backward pass is `gradient`.

    References:
        Liu et al. 2018, Bi-Real Net, arXiv:1808.00278 (the polynomial); Courbariaux et al. 2016 (the clipped one).
    """

    def __init__(self, gradient: ActivationGradient = "bireal") -> None:
        super().__init__()
        self.gradient = gradient

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...), all ±1."""
        return _BinaryActivation.apply(x, self.gradient)

    def extra_repr(self) -> str:
        """The text that `print` shows."""
        return self.gradient


class BinaryWeight(nn.Module, ABC):
    """Common code of the binary layers: the bits of the weight, and the gradient of the latent weight.

    Args:
        weight_gradient: `identity`: straight through; `clipped`: 0 where |w| > 1.
        scaling: `none`, or multiply the bits by s = mean|w| of each output. `form_1`: ∂L/∂w = ∂L/∂b, so that a
            normalisation after the layer cancels the magnitude. `form_1_dyadic`: the same with s rounded up to a power
            of two, so that it cancels without rounding errors. `form_2`, as in common code: ∂L/∂w = ∂L/∂(s b), which is
            1/s times as large.
    """

    weight: Tensor

    def set_binary(self, weight_gradient: WeightGradient, scaling: Scaling) -> None:
        """Set the two settings of this layer; they are independent of other layers."""
        self.weight_gradient, self.scaling = weight_gradient, scaling

    def binary_weight(self) -> Tensor:
        """±1, or ±s; the shape of `weight`."""
        scale = None if self.scaling == "none" else self._scale()
        if scale is not None and self.scaling == "form_1_dyadic":
            scale = torch.where(scale > 0, scale / torch.frexp(scale).mantissa, scale)
        form_1 = self.scaling in ("form_1", "form_1_dyadic")
        return _BinaryWeight.apply(self.weight, scale, self.weight_gradient == "clipped", form_1)

    @abstractmethod
    def _scale(self) -> Tensor:
        """The scale of each output's weights."""

    def extra_repr(self) -> str:
        """The text that `print` shows."""
        return f"{super().extra_repr()}, weight_gradient={self.weight_gradient}, scaling={self.scaling}"


class BinaryLinear(BinaryWeight, StackableLinear):
    """x sign(W)ᵀ without bias, for one network or for a stack of k."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_gradient: WeightGradient = "identity",
        scaling: Scaling = "none",
    ) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.set_binary(weight_gradient, scaling)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (..., in) -> (..., out); of a stack, inputs (b, in) or (k, b, in) -> (k, b, out)."""
        weight = self.binary_weight()
        return F.linear(inputs, weight) if weight.dim() == 2 else inputs @ weight.mT

    def _scale(self) -> Tensor:
        return self.weight.detach().abs().mean(-1, keepdim=True)  # (..., out, 1)


class BinaryConv2d(BinaryWeight, nn.Conv2d):
    """A convolution with binary weights, without bias. It keeps the size of the image, divided by its stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        weight_gradient: WeightGradient = "identity",
        scaling: Scaling = "none",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.set_binary(weight_gradient, scaling)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images (b, in, h, w) -> (b, out, h / stride, w / stride)."""
        return F.conv2d(inputs, self.binary_weight(), None, self.stride, self.padding)

    def _scale(self) -> Tensor:
        return self.weight.detach().abs().mean((1, 2, 3), keepdim=True)  # (out, 1, 1, 1)


def binary_layers(model: nn.Module) -> Iterator[BinaryWeight]:
    """The binary layers of a network, in the order of its modules."""
    return (module for module in model.modules() if isinstance(module, BinaryWeight))


def binary_parameters(model: nn.Module) -> list[Tensor]:
    """The latent weights (or bits) of a network that are trained."""
    return [layer.weight for layer in binary_layers(model) if layer.weight.requires_grad]


def real_parameters(model: nn.Module) -> list[Tensor]:
    """The parameters of a network that are trained and not binary."""
    binary = {id(layer.weight) for layer in binary_layers(model)}
    return [parameter for parameter in model.parameters() if id(parameter) not in binary and parameter.requires_grad]


@torch.no_grad()
def initialize_binary(layer: BinaryWeight, init: Init, scale: float, generator: torch.Generator) -> None:
    """Draw latent weights; c is `scale`.

    `uniform`: U(−c, c); `zero`: 0; `positive`: U(0, c), which makes every bit +1, as in some released code.
    """
    if init == "zero":
        layer.weight.zero_()
    else:
        layer.weight.uniform_(-scale if init == "uniform" else 0.0, scale, generator=generator)
