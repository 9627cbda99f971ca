"""What building any network shares: checks of its settings, storage on the CPU, values from a generator."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def require_integers(model: Any, *names: str, at_least: int = 1) -> None:
    """Check that the named settings of a model are integers that are not too small.

    Raises:
        ValueError: one is not; the message names it and what is allowed.
    """
    for name in names:
        value = getattr(model, name)
        if not isinstance(value, int) or value < at_least:
            raise ValueError(f"{name}: got {value!r}; allowed: an integer >= {at_least}")


def require_choice(model: Any, name: str, allowed: Iterable[Any]) -> None:
    """Check that a setting of a model is one of those allowed.

    Raises:
        ValueError: it is not; the message lists what is.
    """
    value, choices = getattr(model, name), tuple(allowed)
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}; allowed: {', '.join(map(str, choices))}")


def allocate(network: nn.Module) -> nn.Module:
    """Float32 storage on the CPU for a network that was described on the meta device; its values are NaN until set."""
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
    """torch's default: weight and bias from U(−1/√fan_in, 1/√fan_in)."""
    bound = 1 / math.sqrt(layer.in_features)
    for parameter in layer.parameters():
        parameter.uniform_(-bound, bound, generator=generator)
