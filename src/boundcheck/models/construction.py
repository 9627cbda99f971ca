"""Common code for building networks: storage on the CPU, and initial values from a generator."""

from __future__ import annotations

import math

import torch
from torch import nn


def allocate(network: nn.Module) -> nn.Module:
    """Allocate float32 storage on the CPU for a network on the meta device. Its values are NaN until they are set."""
    storage = {
        name: torch.full(tensor.shape, math.nan, device="cpu", dtype=torch.float32)
        if tensor.is_floating_point()
        else torch.zeros(tensor.shape, device="cpu", dtype=tensor.dtype)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(storage, assign=True)
    return network


@torch.no_grad()
def initialize_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Initialise as torch does by default: weight and bias from U(−1/√fan_in, 1/√fan_in)."""
    bound = 1 / math.sqrt(layer.in_features)
    for parameter in layer.parameters():
        parameter.uniform_(-bound, bound, generator=generator)
