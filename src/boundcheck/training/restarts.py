"""Seeds of a stack that start afresh in the middle of a training, or stand still, while the others go on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from boundcheck.contracts import Restart


def takes_slice_rates(optimizer: Optimizer) -> bool:
    """Whether a group's `lr` may be a tensor with one rate for each seed of a stack."""
    return getattr(type(optimizer), "per_slice_lr", False)


def asked_rates(restarts: Iterable[Restart], num_seeds: int) -> dict[int, float]:
    """The least learning rate asked for, by the place of the seed in its stack; no entry for a seed that goes on.

    Raises:
        ValueError: a learning rate that makes no sense.
    """
    least = torch.full((num_seeds,), math.nan, dtype=torch.float64)
    for restart in restarts:
        least = least.fmin(restart.lr.detach().double().cpu().reshape(num_seeds))
    rates = {place: rate for place, rate in enumerate(least.tolist()) if not math.isnan(rate)}
    for rate in rates.values():
        if not 0 < rate < math.inf:
            raise ValueError(f"lr: a restart asks for {rate}; allowed: > 0 and finite, or NaN where a seed goes on")
    return rates


@torch.no_grad()
def reset_slices(optimizer: Optimizer, places: Sequence[int], num_seeds: int) -> None:
    """Zero the state of the seeds at `places` of a stack of `num_seeds`.

    Raises:
        TypeError: a state that the seeds share.
    """
    for state in optimizer.state.values():
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.shape[:1] != (num_seeds,):
                kind = type(optimizer).__name__
                raise TypeError(f"{kind}: its state {name!r} has no leading axis of {num_seeds} seeds")
            value[places] = 0


@contextlib.contextmanager
def held(tensors: Sequence[Tensor], places: Sequence[int]) -> Iterator[None]:
    """Whatever happens meanwhile, the seeds at `places` of a stack keep their values."""
    kept = [tensor[places].clone() for tensor in tensors] if places else []
    yield
    with torch.no_grad():
        for tensor, values in zip(tensors if places else [], kept, strict=True):
            tensor[places] = values
