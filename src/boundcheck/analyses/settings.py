"""What the analyses of L(θ) have in common: which loss they measure, and what its settings are."""

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
    """Refuse parts of a batch's statistics.

    Raises:
        ValueError: names the field and what is allowed.
    """
    if settings.batch_norm == "train" and settings.chunk_size is not None:
        raise ValueError("chunk_size: allowed with batch_norm 'train': none, as batch statistics are those of a chunk")
