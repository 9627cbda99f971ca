"""Layers with binary weights and activations, and which parameters of a network are binary.

sign(0) = +1 everywhere, so that no weight is missing. A layer's `weight` may be latent (any number) or the bits
themselves (±1); the forward pass takes its sign in either case.
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
    """+1 where x >= 0, also at 0 and −0, else −1."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class _BinaryWeight(torch.autograd.Function):
    """b = sign(w), times s in form 1 and 2; ∂L/∂w is ∂L/∂b or ∂L/∂(s b), where |w| ≤ 1 if clipped."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, scale: Tensor | None, clipped: bool, form_1: bool) -> Tensor:
        ctx.clipped, ctx.form_1 = clipped, form_1
        ctx.save_for_backward(w if clipped else None, scale)
        bits = sign(w)
        return bits if scale is None else scale * bits

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        w, scale = ctx.saved_tensors
        if ctx.form_1:
            gradient = scale * gradient
        if ctx.clipped:
            gradient = gradient * (w.abs() <= 1)
        return gradient, None, None, None


class _BinaryActivation(torch.autograd.Function):
    """sign(x) with the derivative 2 − 2|x| on |x| < 1 (bireal: a piecewise polynomial), 1 there (clipped), or 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, derivative: str) -> Tensor:
        ctx.derivative = derivative
        ctx.save_for_backward(x if derivative != "identity" else None)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
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
        """What `print` shows."""
        return self.gradient


class BinaryWeight(nn.Module, ABC):
    """What both binary layers share: the bits of their weight, and how the gradient reaches the latent weight.

    Args:
        weight_gradient: `identity`, straight through; `clipped`, only where |w| ≤ 1.
        scaling: `none`; both forms multiply the bits by s = mean|w| of each output. `form_1`: ∂L/∂w = ∂L/∂b, so that
            behind a normalisation the magnitude cancels; `form_1_dyadic`: the same with s rounded up to a power of two,
            so that it cancels to the last bit; `form_2`, the common code: ∂L/∂w = ∂L/∂(s b), 1/s as large.
    """

    weight: Tensor

    def set_binary(self, weight_gradient: WeightGradient, scaling: Scaling) -> None:
        """Settings of this very layer; there is no switch for all."""
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
        """What `print` shows."""
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
    """A convolution with the bits of its weight, without bias, that keeps the size of the image up to its stride."""

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
    """The binary layers of a network, in its order."""
    return (module for module in model.modules() if isinstance(module, BinaryWeight))


def binary_parameters(model: nn.Module) -> list[Tensor]:
    """The latent weights (or bits) of a network; all others are real. A frozen one is neither."""
    return [layer.weight for layer in binary_layers(model) if layer.weight.requires_grad]


def real_parameters(model: nn.Module) -> list[Tensor]:
    """All other parameters that are trained."""
    binary = {id(layer.weight) for layer in binary_layers(model)}
    return [parameter for parameter in model.parameters() if id(parameter) not in binary and parameter.requires_grad]


@torch.no_grad()
def initialize_binary(layer: BinaryWeight, init: Init, scale: float, generator: torch.Generator) -> None:
    """Latent weights U(−c, c), or 0, or U(0, c), which makes every bit +1 as some released code does; c is `scale`."""
    if init == "zero":
        layer.weight.zero_()
    else:
        layer.weight.uniform_(-scale if init == "uniform" else 0.0, scale, generator=generator)
