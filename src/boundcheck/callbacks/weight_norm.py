"""Row norms of normalised layers during training, and the smoothness and step size that the theory certifies."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from boundcheck.contracts import Training
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.optional_members import KnowsStepSize
from boundcheck.settings import settings
from boundcheck.theory.weight_norm.network import Network
from boundcheck.theory.weight_norm.recursion import spectral_norm
from boundcheck.theory.weight_norm.training import certified_step, smoothness_along_step

QUANTILES = {"row_norm_low": 0.1, "row_norm_high": 0.9}
ORIGINAL = "parametrizations.weight.original1"  # the v of torch's W = g v/‖v‖


@settings(frozen=False)
class WeightNormRecorder:
    """Records the row norms of each normalised layer (index 1 … L), and what the theory certifies about a step.

    At every evaluation: `row_norm_min`, `row_norm_mean`, `row_norm_low` and `row_norm_high` (10 % and 90 % quantiles),
    and `output_norm` = ‖V‖₂. At the step after an evaluation, for a weight_norm_mlp on inputs of norm √d:
    `smoothness`, the β(η) of `theory.weight_norm.training` for this step; `certified_lr` = η₁; `step_size` = η; and
    `gradient_norm_total`.
    """

    needs_gradient: ClassVar[bool] = True
    quantities: ClassVar[str] = (
        "row_norm_min row_norm_mean row_norm_low row_norm_high output_norm smoothness certified_lr step_size "
        "gradient_norm_total"
    )
    _before: dict[str, Tensor] = field(init=False, default_factory=dict)  # θ at the last evaluation

    def on_epoch(self, training: Training) -> None:
        """Record the norms, and keep θ for the next step."""
        model = training.model
        for layer, rows in enumerate(normalised_rows(model), 1):
            norms = torch.linalg.vector_norm(rows.detach().double(), dim=-1)  # (m,) or (k, m)
            values_of = {"row_norm_min": norms.amin(-1), "row_norm_mean": norms.mean(-1)}
            values_of |= {name: norms.quantile(part, dim=-1) for name, part in QUANTILES.items()}
            for name, values in values_of.items():
                training.curve.record(name, training.step, training.epoch, values, layer)
        if isinstance(model, WeightNormNetwork):
            largest = spectral_norm(model.output.detach().double())
            training.curve.record("output_norm", training.step, training.epoch, largest)
            self._before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def on_step(self, training: Training) -> None:
        """Record what the theory certifies about the newest step, if θ before it was kept."""
        if not self._before:
            return
        network, norms = self._state_before(training)
        loss = training.losses.double().reshape(norms[0].shape)
        length = math.sqrt(network.weights[0].shape[-1])
        step_size = self._step_size(training.optimizer).to(loss).expand(loss.numel()).reshape(loss.shape)
        beta = smoothness_along_step(network, network.output, length, step_size, norms, loss.sqrt())
        certified, _ = certified_step(network, network.output, length, norms, loss.sqrt())
        total = torch.stack(norms).square().sum(0).sqrt()
        values_of = {
            "smoothness": beta,
            "certified_lr": certified,
            "step_size": step_size,
            "gradient_norm_total": total,
        }
        for name, values in values_of.items():
            training.curve.record(name, training.step, training.epoch, values)
        self._before = {}

    def state_dict(self) -> dict[str, Any]:
        """θ at the last evaluation; empty if a step has followed it."""
        return {"before": dict(self._before)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._before = dict(state["before"])

    def _state_before(self, training: Training) -> tuple[Network, list[Tensor]]:
        """The network before the step, and the norms of its gradient with respect to W¹ … W^L and V."""
        model = training.model
        assert isinstance(model, WeightNormNetwork)
        named = dict(model.named_parameters())
        after = {name: p.detach().clone() for name, p in named.items()}
        with torch.no_grad():
            for name, p in named.items():
                p.copy_(self._before[name])
            network = model.theory()
            for name, p in named.items():
                p.copy_(after[name])
        stacked = model.output.dim() == 3
        sizes = [p[0].numel() if stacked else p.numel() for p in named.values()]
        gradient = training.gradient().double()
        squares = [part.square().sum(-1) for part in gradient.split(sizes, dim=-1)]  # (k,) each
        by_layer: dict[str, Tensor] = {}
        for name, square in zip(named, squares, strict=True):
            layer = name.rpartition(".")[0]
            by_layer[layer] = by_layer.get(layer, torch.zeros_like(square)) + square
        shape = (len(gradient),) if stacked else ()
        return network, [square.sqrt().reshape(shape) for square in by_layer.values()]

    @staticmethod
    def _step_size(optimizer: torch.optim.Optimizer) -> Tensor:
        """η of the newest step: () or (k,); (1,) for a network that is trained alone."""
        chosen = optimizer.step_size if isinstance(optimizer, KnowsStepSize) else optimizer.param_groups[0]["lr"]
        return torch.as_tensor(chosen, dtype=torch.float64)


def normalised_rows(model: nn.Module) -> list[Tensor]:
    """The rows of each normalised layer: (m, n), or (k, m, n) of a stack.

    For a WeightNormNetwork, these are the rows of its hidden layers (also if it does not normalise them). For other
    networks, they are the rows v of torch's parametrised weight normalisation.
    """
    if isinstance(model, WeightNormNetwork):
        return [layer.weight for layer in model.layers]
    return [p.flatten(1) for name, p in model.named_parameters() if name.endswith(ORIGINAL)]
