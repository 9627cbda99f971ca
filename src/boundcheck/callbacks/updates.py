"""The numbers of every step that the theory of momentum speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from boundcheck.contracts import Training
from boundcheck.methods.momentum import MomentumOptimizer


@dataclass(frozen=True)
class UpdateRecorder:
    """Records, of step k from θ_k with g_k = ∇E(θ_k) and Δ_{k+1} = θ_{k+1} − θ_k, the penalty of weight decay in E:

    `objective` E(θ_k), `gradient_norm` ‖g_k‖, `update_norm` ‖Δ_{k+1}‖, `descent_cosine` cos∠(Δ_{k+1}, −g_k), `lr` η_k,
    and `parameter_norm` ‖θ_k‖ where there is weight decay. The optimizer is one that keeps its gradient and update.
    """

    needs_gradient: ClassVar[bool] = False

    def on_step(self, training: Training) -> None:
        """Record one value per seed of each.

        Raises:
            TypeError: an optimizer that keeps no update.
        """
        optimizer = training.optimizer
        if not isinstance(optimizer, MomentumOptimizer) or optimizer.gradient is None or optimizer.update is None:
            kinds = "gradient_descent, adaptive_momentum, heavy_ball, nesterov, polyak"
            raise TypeError(f"record: updates needs an optimizer that keeps its update; allowed: {kinds}")
        gradient, update = optimizer.gradient, optimizer.update
        norms = [torch.linalg.vector_norm(v, dim=1) for v in (gradient, update)]
        cosine = -(gradient * update).sum(1) / (norms[0] * norms[1])
        group = optimizer.param_groups[0]
        lr = torch.as_tensor(group["lr"], dtype=cosine.dtype, device=cosine.device).expand_as(cosine)
        objective = training.losses
        found: dict[str, Tensor] = {}
        if group["weight_decay"]:
            parameters = [p.detach().reshape(len(cosine), -1) for p in training.model.parameters() if p.requires_grad]
            norm = torch.linalg.vector_norm(torch.cat(parameters, dim=1) - update, dim=1)
            objective = objective + group["weight_decay"] / 2 * norm**2
            found["parameter_norm"] = norm
        found |= {"objective": objective, "gradient_norm": norms[0], "update_norm": norms[1]}
        found |= {"descent_cosine": cosine, "lr": lr}
        for name, values in found.items():
            training.curve.record(name, training.step, training.epoch, values)

    def on_epoch(self, training: Training) -> None:
        """Nothing."""
