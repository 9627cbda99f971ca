"""What the analyses of L(θ) have in common: which loss they measure, and how their settings are checked."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from boundcheck.analyses.flat_loss import BatchNormMode, flat_loss
from boundcheck.contracts import LossFunction, Objective, Split

Precision = Literal["float32", "float64"]


class LossSettings(Protocol):
    """The settings that define L: the fields that each analysis of it has."""

    @property
    def samples(self) -> int | None:
        """How many examples of the (shuffled) training split, from its start; None: all."""

    @property
    def dtype(self) -> Precision:
        """Precision of θ and of every product."""

    @property
    def batch_norm(self) -> BatchNormMode:
        """Which BatchNorm statistics L uses; see `flat_loss`."""

    @property
    def chunk_size(self) -> int | None:
        """Examples that are in memory at once; None: all."""


def training_loss(
    settings: LossSettings, model: nn.Module, objective: Objective, train: Split
) -> tuple[list[LossFunction], Tensor]:
    """L as chunks, and θ (p,), of the loss that an analysis measures."""
    subset = Split(train.inputs[: settings.samples], train.labels[: settings.samples])
    dtype = {"float32": torch.float32, "float64": torch.float64}[settings.dtype]
    return flat_loss(model, objective, subset, settings.chunk_size, dtype, settings.batch_norm)


def check_loss_settings(settings: LossSettings) -> None:
    """Reject settings of L that make no sense.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    for name in ("samples", "chunk_size"):
        value = getattr(settings, name)
        if value is not None:
            check_at_least(1, **{name: value})
    check_one_of(("float32", "float64"), dtype=settings.dtype)
    check_one_of(("eval", "train", "recompute"), batch_norm=settings.batch_norm)
    if settings.batch_norm == "train" and settings.chunk_size is not None:
        raise ValueError("chunk_size: allowed with batch_norm 'train': none, as batch statistics are those of a chunk")


def check_at_least(least: int, **fields: int) -> None:
    """Raise a ValueError unless every field is an integer >= `least`."""
    for name, value in fields.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}: got {value!r}; allowed: integers >= {least}")


def check_not_negative(**fields: float) -> None:
    """Raise a ValueError unless every field is a finite number >= 0."""
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"{name}: got {value!r}; allowed: finite numbers >= 0")


def check_positive(**fields: float) -> None:
    """Raise a ValueError unless every field is a finite number > 0."""
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{name}: got {value!r}; allowed: finite numbers > 0")


def check_one_of(allowed: tuple[str, ...], **fields: str) -> None:
    """Raise a ValueError unless every field is one of `allowed`."""
    for name, value in fields.items():
        if value not in allowed:
            raise ValueError(f"{name}: got {value!r}; allowed: {', '.join(allowed)}")
