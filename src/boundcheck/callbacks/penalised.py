"""The loss with the penalty of weight decay, and the norm of the parameters, at the start of a step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from boundcheck.contracts import Training


class StepStart(NamedTuple):
    """For every seed before its newest step: `objective` E(θ) + (λ/2) ‖θ‖² and `norm` ‖θ‖, (k,); None if λ = 0."""

    objective: Tensor
    norm: Tensor | None


def step_start(training: Training, update: Tensor) -> StepStart:
    """The objective and norm at the start of the newest step, whose update is `update` (k, p)."""
    decay = training.optimizer.param_groups[0].get("weight_decay", 0.0)
    if not decay:
        return StepStart(training.losses, None)
    parameters = [p.detach().reshape(len(update), -1) for p in training.model.parameters() if p.requires_grad]
    norm = torch.linalg.vector_norm(torch.cat(parameters, dim=1) - update, dim=1)
    return StepStart(training.losses + decay / 2 * norm**2, norm)
