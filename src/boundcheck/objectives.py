"""Objectives: the L of L(theta), built from `training.loss`; one mean value per slice of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from boundcheck.contracts import Objective, Split


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy against (1 - s) onehot + s/K, where s is `label_smoothing` and K the number of classes."""

    label_smoothing: float = 0.0

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (..., n, K), targets (n,) or (..., n) int64 -> (...), in nats."""
        if outputs.dim() == 2:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        log_probabilities = F.log_softmax(outputs, -1)
        targets = targets.expand(outputs.shape[:-1])
        picked = log_probabilities.gather(-1, targets.unsqueeze(-1)).squeeze(-1)  # (..., n)
        s = self.label_smoothing
        if s:
            picked = (1 - s) * picked + s * log_probabilities.mean(-1)
        return -picked.mean(-1)

    def targets(self, split: Split) -> Tensor:
        """The labels (n,)."""
        return split.labels


@dataclass(frozen=True)
class Square:
    """Mean over the examples of ‖f(x) − onehot(y)‖²; a single output is compared with ±1 instead."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (..., n, K), targets (n,) or (..., n) int64 -> (...)."""
        num_outputs = outputs.shape[-1]
        if num_outputs == 1:
            wanted = (2 * targets - 1).to(outputs.dtype).unsqueeze(-1)
        else:
            wanted = F.one_hot(targets, num_outputs).to(outputs.dtype)
        return (outputs - wanted).square().sum(-1).mean(-1)

    def targets(self, split: Split) -> Tensor:
        """The labels (n,)."""
        return split.labels


@dataclass(frozen=True)
class Reconstruction:
    """½ Σ ‖f(x) − x‖² over the examples, divided by their number."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (..., n, d), targets (n, d) or (..., n, d) -> (...)."""
        return (outputs - targets).square().sum(-1).mean(-1) / 2

    def targets(self, split: Split) -> Tensor:
        """The inputs, flattened to (n, d)."""
        return split.inputs.flatten(1)


LOSSES = ("cross_entropy", "square", "reconstruction")


def build_objective(training: Mapping[str, Any]) -> Objective:
    """The objective of a cell from its `training` settings.

    Raises:
        ValueError: an unknown `loss`, or label smoothing where it means nothing.
    """
    loss, smoothing = training["loss"], training.get("label_smoothing", 0.0)
    if loss == "cross_entropy":
        return CrossEntropy(smoothing)
    if smoothing:
        raise ValueError(f"label_smoothing: {smoothing} means nothing with loss {loss!r}; leave it out")
    if loss == "square":
        return Square()
    if loss == "reconstruction":
        return Reconstruction()
    raise ValueError(f"loss: unknown loss {loss!r}; allowed: {', '.join(LOSSES)}")


@torch.no_grad()
def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Fraction of right predictions: outputs (..., n, K), labels (n,) or (..., n) -> (...); ±1 for one output."""
    predicted = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs.squeeze(-1) >= 0).long()
    return (predicted == labels).double().mean(-1)
