"""What the analyses of L(θ) have in common: which loss they measure, and what its settings are."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from boundcheck.analyses.flat_loss import BatchNormMode, flat_loss
from boundcheck.contracts import LossFunction, Snapshot

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


def training_loss(settings: LossSettings, snapshot: Snapshot) -> tuple[list[LossFunction], Tensor]:
    """The loss L of a snapshot as chunks that sum to it, and θ (p,)."""
    examples = snapshot.train.first(settings.samples)
    dtype = {"float32": torch.float32, "float64": torch.float64}[settings.dtype]
    return flat_loss(snapshot.model, snapshot.objective, examples, settings.chunk_size, dtype, settings.batch_norm)


def check_loss_settings(settings: LossSettings) -> None:
    """Refuse parts of a batch's statistics.

    Raises:
        ValueError: names the field and what is allowed.
    """
    if settings.batch_norm == "train" and settings.chunk_size is not None:
        raise ValueError("chunk_size: allowed with batch_norm 'train': none, as batch statistics are those of a chunk")
