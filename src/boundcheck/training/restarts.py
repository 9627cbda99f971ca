"""Seeds of a stack that start again or stand still while the others go on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from boundcheck.contracts import Restart
from boundcheck.optional_members import PerSliceRates


def takes_slice_rates(optimizer: Optimizer) -> bool:
    """Whether the `lr` of a group may be a tensor (k,) with one rate for each seed of a stack."""
    return isinstance(optimizer, PerSliceRates) and optimizer.per_slice_lr


def requested_rates(restarts: Iterable[Restart], num_seeds: int) -> dict[int, float]:
    """The new learning rate of each seed that restarts, by its index in the stack: the least that was requested.

    Raises:
        ValueError: a learning rate that makes no sense.
    """
    least = torch.full((num_seeds,), math.nan, dtype=torch.float64)
    for restart in restarts:
        least = least.fmin(restart.lr.detach().double().cpu().reshape(num_seeds))
    rates = {seed_index: rate for seed_index, rate in enumerate(least.tolist()) if not math.isnan(rate)}
    for rate in rates.values():
        if not 0 < rate < math.inf:
            raise ValueError(f"lr: a restart asks for {rate}; allowed: > 0 and finite, or NaN where a seed goes on")
    return rates


@torch.no_grad()
def reset_slices(optimizer: Optimizer, seed_indices: Sequence[int], num_seeds: int) -> None:
    """Set the optimizer's state of some seeds of a stack to zero.

    Raises:
        TypeError: the seeds share a part of the state.
    """
    for state in optimizer.state.values():
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.shape[:1] != (num_seeds,):
                kind = type(optimizer).__name__
                raise TypeError(f"{kind}: its state {name!r} has no leading axis of {num_seeds} seeds")
            value[seed_indices] = 0


@contextlib.contextmanager
def unchanged_seeds(tensors: Sequence[Tensor], seed_indices: Sequence[int]) -> Iterator[None]:
    """After the block some seeds of a stack have the values that they had before it."""
    kept = [tensor[seed_indices].clone() for tensor in tensors] if seed_indices else []
    yield
    with torch.no_grad():
        for tensor, values in zip(tensors if seed_indices else [], kept, strict=True):
            tensor[seed_indices] = values
