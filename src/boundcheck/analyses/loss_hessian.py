"""The Hessian of the training loss of a snapshot: where the analyses of it begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from boundcheck.analyses.settings import LossSettings, training_loss
from boundcheck.contracts import LossFunction, Row, Snapshot
from boundcheck.curvature.hessian import HessianOperator


class HessianSettings(LossSettings, Protocol):
    """The settings that define the Hessian of L and how it is computed."""

    @property
    def retain(self) -> bool:
        """Whether the gradient's graph of every chunk is kept."""


class LossHessian(NamedTuple):
    """L as chunks that sum to it, θ (p,), and H(θ) with L(θ) and ∇L(θ)."""

    losses: list[LossFunction]
    theta: Tensor
    hessian: HessianOperator


def hessian_rows(
    settings: HessianSettings, snapshot: Snapshot, measure: Callable[[LossHessian], list[Row]]
) -> list[Row]:
    """The rows that `measure` finds with the Hessian, or only the row `loss` where the gradient is not finite."""
    losses, theta = training_loss(settings, snapshot)
    hessian = HessianOperator(losses, theta, settings.retain)
    if not hessian.gradient.isfinite().all():
        return [Row("loss", hessian.loss.item())]
    return measure(LossHessian(losses, theta, hessian))
