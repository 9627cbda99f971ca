"""Records how many binary weights flip in a step, by layer, and the size of their gradients."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor

from boundcheck.callbacks.bits import layer_slices, signs
from boundcheck.contracts import Training
from boundcheck.models.binary_layers import binary_parameters
from boundcheck.settings import settings


@settings(frozen=False)
class FlipRatioRecorder:
    """Records, at every evaluation, means over the steps since the last evaluation.

    `flip_ratio`: the share of binary weights that flip in a step, of each layer (index 0, 1, …) and of all (index −1).
    `first_flip_ratio`: the same at the first step only. `flipped_share`: the share of weights whose bit differs from
    its initial value. `gradient_rms`: the root mean square of ∂L/∂b over all weights and steps. `lr_factor`: the factor
    of the learning-rate schedule. `largest_latent`: the largest |w| so far; it shows whether clipping at 1 was ever
    active.
    """

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "flip_ratio first_flip_ratio flipped_share gradient_rms lr_factor largest_latent"
    _state: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def on_step(self, training: Training) -> None:
        """Count the flips of this step."""
        k, state = len(training.curve.seeds), self._state
        bits = signs(training.model, k)
        flipped = bits != state["bits"]
        ratios = [flipped[:, part].double().mean(1) for part in layer_slices(training.model, k)]
        ratios.append(flipped.double().mean(1))
        state["flips"] = state["flips"] + torch.stack(ratios)  # (layers + 1, k)
        state["square"] = state["square"] + _mean_square(training, k)
        state["largest"] = torch.maximum(state["largest"], _largest(training, k))
        group = training.optimizer.param_groups[0]
        state["factor"] = state["factor"] + group["lr"] / group["initial_lr"]
        state["bits"], state["count"] = bits, state["count"] + 1
        if training.step == 0:
            training.curve.record("first_flip_ratio", 1, training.epoch, ratios[-1])

    def on_epoch(self, training: Training) -> None:
        """Record the means of the epoch."""
        k, state = len(training.curve.seeds), self._state
        if state and state["count"]:
            means = state["flips"] / state["count"]
            for index, values in enumerate(means):
                layer = index if index < len(means) - 1 else -1
                training.curve.record("flip_ratio", training.step, training.epoch, values, layer)
            rms = (state["square"] / state["count"]).sqrt()
            training.curve.record("gradient_rms", training.step, training.epoch, rms)
            factor = torch.full((k,), state["factor"] / state["count"], dtype=torch.float64)
            training.curve.record("lr_factor", training.step, training.epoch, factor)
            training.curve.record("largest_latent", training.step, training.epoch, state["largest"])
            share = (state["bits"] != state["start"]).double().mean(1)
            training.curve.record("flipped_share", training.step, training.epoch, share)
        if not state:
            state["start"] = state["bits"] = signs(training.model, k)
            state["largest"] = _largest(training, k)
        state |= {"flips": 0.0, "square": 0.0, "factor": 0.0, "count": 0}

    def state_dict(self) -> dict[str, Any]:
        """The counts since the last evaluation."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts of a checkpoint."""
        self._state = dict(state)


def _mean_square(training: Training, k: int) -> Tensor:
    gradients = [p.grad.view(k, -1) for p in binary_parameters(training.model) if p.grad is not None]
    return torch.cat(gradients, 1).double().square().mean(1)


def _largest(training: Training, k: int) -> Tensor:
    return (
        torch.stack([p.detach().view(k, -1).abs().amax(1) for p in binary_parameters(training.model)]).amax(0).double()
    )
