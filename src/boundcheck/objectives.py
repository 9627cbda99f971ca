"""Objectives: the loss L(theta), built from `training.loss`; one mean value for each seed of a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from boundcheck.contracts import Objective, Split
from boundcheck.settings import Positive, ShareBelowOne, TrainingSettings, check


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
    """Mean over the examples of ‖f(x) − onehot(y)‖². With two classes and one output, the target is ±1."""

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


@dataclass(frozen=True)
class Distillation:
    """Cross entropy against a trained network's distribution over the classes, and against the labels.

    L = (1 − w) τ² H(softmax(t/τ), softmax(f/τ)) + w H(onehot(y), softmax(f)), H(p, q) = −Σ p log q. Here t are the
    teacher's outputs on the same inputs, without a gradient. τ = 1 and w = 0 is the distribution loss of ReActNet.

    Args:
        teacher: inputs (n, ...) -> t (n, K).
        temperature: τ.
        label_weight: w.

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531; Liu et al. 2020, ReActNet, arXiv:2003.03488.
    """

    teacher: Callable[[Tensor], Tensor] | None
    temperature: float = 1.0
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        check("temperature", self.temperature, Positive)
        check("label_weight", self.label_weight, ShareBelowOne)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (..., n, K), targets (n, 2, K) or (..., n, 2, K) -> (...), in nats."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, targets.dtype))
        taught, given = targets.unbind(-2)
        loss = _cross_entropy(outputs / self.temperature, taught) * self.temperature**2
        w = self.label_weight
        return (1 - w) * loss + w * _cross_entropy(outputs, given) if w else loss

    @torch.no_grad()
    def targets(self, split: Split) -> Tensor:
        """The teacher's distribution and the one-hot label of each input: (n, 2, K); for a stack (k, n, 2, K)."""
        assert self.teacher is not None
        inputs = split.inputs.flatten(0, split.labels.dim() - 1)  # (k n, ...)
        outputs = torch.cat([self.teacher(part) for part in inputs.split(TAUGHT_AT_ONCE)])
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # a network may be in bfloat16
        taught = F.softmax(outputs / self.temperature, -1).unflatten(0, split.labels.shape)
        return torch.stack([taught, F.one_hot(split.labels, outputs.shape[-1]).to(taught)], -2)


def _cross_entropy(outputs: Tensor, wanted: Tensor) -> Tensor:
    return -(wanted * F.log_softmax(outputs, -1)).sum(-1).mean(-1)


TAUGHT_AT_ONCE = 1000  # inputs
ONLY_WITH = {  # the loss that a setting belongs to
    "label_smoothing": "cross_entropy",
    "teacher": "distillation",
    "temperature": "distillation",
    "label_weight": "distillation",
}


def build_objective(training: TrainingSettings, teacher: Callable[[Tensor], Tensor] | None = None) -> Objective:
    """The objective of a cell.

    Args:
        training: the settings of its training.
        teacher: for distillation: the teacher network, inputs (n, ...) -> outputs (n, K). If it is None, the settings
            are checked, but the objective has no targets.

    Raises:
        ValueError: distillation has no teacher, or a setting has no effect with this loss.
    """
    loss = training.loss
    if loss == "distillation" and training.teacher is None:
        raise ValueError("teacher: loss distillation needs one; allowed: a name in datasets, of kind teacher")
    for name, only in ONLY_WITH.items():
        value = getattr(training, name)
        if loss != only and value != getattr(TrainingSettings, name):
            raise ValueError(f"{name}: got {value!r}; it has no effect with loss {loss!r}: leave it out")
    match loss:
        case "cross_entropy":
            return CrossEntropy(training.label_smoothing)
        case "square":
            return Square()
        case "reconstruction":
            return Reconstruction()
        case _:
            return Distillation(teacher, training.temperature, training.label_weight)


@torch.no_grad()
def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Fraction of correct predictions: outputs (..., n, K), labels (n,) or (..., n) -> (...).

    With one output, its sign is the prediction.
    """
    predicted = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs.squeeze(-1) >= 0).long()
    return (predicted == labels).double().mean(-1)
