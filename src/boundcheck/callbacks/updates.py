"""Records the quantities of every step that the theory of momentum uses."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor

from boundcheck.callbacks.penalised import step_start
from boundcheck.contracts import Training
from boundcheck.methods.momentum import MomentumOptimizer
from boundcheck.settings import settings


@settings(frozen=False)
class UpdateRecorder:
    """Records the gradient, update and momentum of every step. It needs an optimizer that keeps them.

    Let step k go from θ_k to θ_{k+1} = θ_k + Δ_{k+1}, with g_k = ∇E(θ_k). E includes the penalty of weight decay.
    Quantities: `objective` E(θ_k); `gradient_norm` ‖g_k‖; `update_norm` ‖Δ_{k+1}‖; `descent_cosine`
    cos∠(Δ_{k+1}, −g_k); `lr` η_k; `effective_momentum` β_k; `path_length` Σ_{j≤k} ‖Δ_{j+1}‖ since the seed's last
    start; with weight decay also `parameter_norm` ‖θ_k‖.

    β_k is the coefficient of the previous step Δ_k. For adaptive momentum it is s η ‖g_k‖/‖Δ_k‖, also with blocks,
    because the part along the previous steps always has length s η ‖g_k‖. For other methods it is the constant β. It is
    0 at the first step.
    """

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = (
        "objective gradient_norm update_norm descent_cosine lr effective_momentum path_length parameter_norm"
    )
    _path: Tensor | None = field(init=False, default=None, repr=False)  # (k,)
    _last: Tensor | None = field(init=False, default=None, repr=False)  # ‖Δ_k‖ (k,)

    def on_step(self, training: Training) -> None:
        """Record one value per seed and quantity.

        Raises:
            TypeError: the optimizer does not keep its update.
        """
        optimizer = training.optimizer
        if not isinstance(optimizer, MomentumOptimizer) or optimizer.gradient is None or optimizer.update is None:
            kinds = "gradient_descent, adaptive_momentum, heavy_ball, nesterov, polyak"
            raise TypeError(f"record: updates needs an optimizer that keeps its update; allowed: {kinds}")
        gradient, update = optimizer.gradient, optimizer.update
        gradient_norm, update_norm = (torch.linalg.vector_norm(v, dim=1) for v in (gradient, update))
        slope = (gradient * update).sum(1)
        group = optimizer.param_groups[0]
        lr = torch.as_tensor(group["lr"], dtype=slope.dtype, device=slope.device).expand_as(slope)
        last, path = self._since_start(training, update_norm)
        self._last, self._path = update_norm, path + update_norm
        objective, norm = step_start(training, update)
        values_of = {
            "objective": objective,
            "gradient_norm": gradient_norm,
            "update_norm": update_norm,
            "descent_cosine": -slope / (gradient_norm * update_norm),
            "lr": lr,
            "effective_momentum": _effective_momentum(group, lr * gradient_norm, last),
            "path_length": self._path,
        }
        if norm is not None:
            values_of["parameter_norm"] = norm
        for name, values in values_of.items():
            training.curve.record(name, training.step, training.epoch, values)

    def on_epoch(self, training: Training) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The path lengths so far, and the norms of the last updates."""
        state = {"path": self._path, "last": self._last}
        return {name: value for name, value in state.items() if value is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._path, self._last = state.get("path"), state.get("last")

    def _since_start(self, training: Training, like: Tensor) -> tuple[Tensor, Tensor]:
        """‖Δ_k‖ and the path length so far, (k,) each; both 0 for a seed at its first step."""
        if self._path is None or self._last is None:
            return torch.zeros_like(like), torch.zeros_like(like)
        goes_on = training.steps_since_restart > 0
        last, path = self._last.to(like), self._path.to(like)
        if goes_on.all():
            return last, path
        goes_on = goes_on.to(like.device)
        return torch.where(goes_on, last, 0.0), torch.where(goes_on, path, 0.0)


def _effective_momentum(group: dict[str, Any], gradient_step: Tensor, last: Tensor) -> Tensor:
    """β_k (k,) from η‖g_k‖ and ‖Δ_k‖."""
    beta = group["s"] * gradient_step / last if "s" in group else torch.full_like(last, group["momentum"])
    return torch.where(last > 0, beta, 0.0)
