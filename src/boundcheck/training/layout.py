"""How images lie in memory, and in which precision a network computes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from boundcheck.contracts import Method
from boundcheck.settings import TrainingSettings


@dataclass(frozen=True)
class Layout:
    """How a network on `device` wants its inputs; `autocast`: whether it computes in bfloat16."""

    device: torch.device
    channels_last: bool
    autocast: bool

    def inputs(self, inputs: Tensor) -> Tensor:
        """The inputs as the network wants them."""
        return inputs.contiguous(memory_format=torch.channels_last) if self.channels_last else inputs

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """The context for the forward pass and the loss."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else contextlib.nullcontext()


def layout_for(
    model: nn.Module, method: Method, training: TrainingSettings, input_shape: tuple[int, ...], device: torch.device
) -> Layout:
    """The layout that a cell asks for; the model is brought into it, in place.

    Channels last is faster for first-order steps of convolutions on 28 pixels and more, and slower for Hessian-vector
    products.
    """
    wanted = training.channels_last
    has_convolution = any(isinstance(module, nn.Conv2d) for module in model.modules())
    channels_last = has_convolution and len(input_shape) == 3
    if channels_last:
        channels_last = not method.second_order and min(input_shape[1:]) >= 28 if wanted == "auto" else wanted
    if channels_last:
        model.to(memory_format=torch.channels_last)
    return Layout(device, channels_last, training.precision == "bfloat16")
