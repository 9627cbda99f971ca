"""The loss and its gradient norm on the training subset."""

from __future__ import annotations

from typing import ClassVar

import torch

from boundcheck.analyses.flat_loss import BatchNormMode
from boundcheck.analyses.settings import Precision, check_loss_settings, training_loss
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.hessian import loss_and_gradient
from boundcheck.settings import Count, settings


@settings
class GradientNorm:
    """Rows `loss` and `gradient_norm`: L(θ) and ‖∇L(θ)‖ over all trainable parameters, without weight decay.

    Args:
        samples: examples from the start of the training split; None: all of it.
        dtype: precision.
        batch_norm: statistics that L uses; see `flat_loss`.
        chunk_size: examples in memory at once; None: all.
    """

    quantities: ClassVar[str] = "loss gradient_norm"

    samples: Count | None = 1000
    dtype: Precision = "float64"
    batch_norm: BatchNormMode = "eval"
    chunk_size: Count | None = None

    def __post_init__(self) -> None:
        check_loss_settings(self)

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        loss, gradient = loss_and_gradient(*training_loss(self, snapshot))
        norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        return [Row("loss", loss.item()), Row("gradient_norm", norm.item())]
