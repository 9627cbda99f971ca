"""Restricted strong convexity of the square loss of a weight-normalised network, and the rate that follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from boundcheck.analyses.flat_loss import flat_loss
from boundcheck.analyses.settings import check_at_least, check_positive
from boundcheck.contracts import LossFunction, Objective, Row, Split
from boundcheck.curvature.hessian import loss_and_gradient
from boundcheck.models.weight_norm_mlp import WeightNormNetwork
from boundcheck.objectives import Square
from boundcheck.theory.weight_norm import layer_bounds, matrix_norms, parameter_bounds
from boundcheck.theory.weight_norm_network import passes
from boundcheck.theory.weight_norm_training import (
    certified_step,
    loss_smoothness,
    rate_bound,
    restricted_convexity,
    smoothness_along_step,
)


@dataclass(frozen=True)
class RestrictedConvexity:
    """Where and how much the square loss is convex along directions δ with |cos(δ, ḡ)| ≥ κ, ‖δ‖ ≤ ρ.

    ḡ is the gradient of the mean over examples and outputs, divided by √K. Rows: `loss`, `gradient_norm`,
    `average_gradient_norm` ‖ḡ‖, `residual_norm` (mean ‖f − y‖), `row_gradient_cosine` (the largest
    |w·∇_w L|/(‖w‖‖∇L‖) over hidden rows), `convexity_limit` (α as ρ → 0, from B1), `loss_smoothness`
    (β at θ, from B0t); with coordinate ρ: `convexity` α, and with index = the direction `sampled_curvature`
    2(L(θ+δ) − L(θ) − ⟨δ, ∇L⟩)/‖δ‖²; where α > 0 for a normalised network `loss_after_step` and `rate_bound` for the
    certified step. Only for weight_norm_mlp under the square loss on inputs of one length: else no rows.

    Args:
        radii: ρ, below every row norm.
        kappa: κ in (0, 1].
        directions: sampled directions at each radius.
        samples: examples from the start of the training split; none: all.
    """

    radii: Sequence[float] = (0.001, 0.01)
    kappa: float = 0.9
    directions: int = 8
    samples: int | None = None

    def __post_init__(self) -> None:
        for radius in self.radii:
            check_positive(radii=radius)
        if not 0 < self.kappa <= 1:
            raise ValueError(f"kappa: got {self.kappa}; allowed: in (0, 1]")
        check_at_least(1, directions=self.directions)
        if self.samples is not None:
            check_at_least(1, samples=self.samples)

    def measure(
        self,
        model: nn.Module,
        objective: Objective,
        train: Split,
        test: Split,
        generator: torch.Generator,
        settings: Mapping[str, Any],
    ) -> list[Row]:
        """See contracts.Analysis."""
        train = Split(train.inputs[: self.samples].double(), train.labels[: self.samples])
        lengths = torch.linalg.vector_norm(train.inputs.flatten(1), dim=-1)
        one_length = bool((lengths - lengths[0]).abs().max() <= 1e-6 * lengths[0])
        if not isinstance(model, WeightNormNetwork) or not isinstance(objective, Square) or not one_length:
            return []
        losses, theta = flat_loss(model, objective, train, dtype=torch.float64)
        average, _ = flat_loss(model, _Average(), train, dtype=torch.float64)
        loss, gradient = loss_and_gradient(losses, theta)
        _, average_gradient = loss_and_gradient(average, theta)
        around = _Surroundings(model, train, lengths.max(), loss, gradient, average_gradient)
        rows = [
            Row("loss", loss.item()),
            Row("gradient_norm", gradient.norm().item()),
            Row("average_gradient_norm", average_gradient.norm().item()),
            Row("residual_norm", around.residual.item()),
            Row("row_gradient_cosine", around.row_gradient_cosine()),
            Row("convexity_limit", around.convexity_limit(self.kappa)),
            Row("loss_smoothness", around.smoothness().item()),
        ]
        for radius in self.radii:
            rows += self._at_radius(radius, around, losses[0], theta, generator)
        return rows

    def _at_radius(
        self, radius: float, around: _Surroundings, loss: LossFunction, theta: Tensor, generator: torch.Generator
    ) -> list[Row]:
        alpha = around.convexity(radius, self.kappa).item()
        rows, least = [Row("convexity", alpha, coordinate=radius)], around.loss.item()
        for index, delta in enumerate(self._directions(around, generator)):
            value = loss(theta + radius * delta).detach()
            curvature = 2 * (value - around.loss - radius * (delta @ around.gradient)) / radius**2
            rows.append(Row("sampled_curvature", curvature.item(), index, radius))
            least = min(least, value.item())
        if alpha > 0 and around.network.normalised and not around.network.trainable_gains:
            step, beta = around.certified_step()
            after = loss(theta - step * around.gradient).item()
            bound = np.asarray(rate_bound(around.loss.item(), least, alpha, beta, step * beta)).item()
            rows += [
                Row("loss_after_step", after, coordinate=radius),
                Row("rate_bound", bound, coordinate=radius),
            ]
        return rows

    def _directions(self, around: _Surroundings, generator: torch.Generator) -> list[Tensor]:
        """Unit vectors on and inside the edge of the cone around ±ḡ, the first of them −∇L if that is inside."""
        axis = around.average_gradient / around.average_gradient.norm().clamp_min(1e-300)
        found = []
        down = -around.gradient / around.gradient.norm().clamp_min(1e-300)
        if (down @ axis).abs() >= self.kappa:
            found.append(down)
        for index in range(len(found), self.directions):
            noise = torch.randn(len(axis), dtype=torch.float64, generator=generator).to(axis)
            noise = noise - (noise @ axis) * axis
            share = index / max(self.directions - 1, 1)
            cosine = self.kappa + (1 - self.kappa) * share
            sign = -1 if index % 2 else 1
            found.append(sign * cosine * axis + math.sqrt(max(1 - cosine**2, 0.0)) * noise / noise.norm())
        return found


class _Average:
    """Σ_k f_k/√K, averaged over the examples: its gradient is ḡ."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.sum(-1).mean(-1) / math.sqrt(outputs.shape[-1])

    def targets(self, split: Split) -> Tensor:
        return split.labels


class _Surroundings:
    """What the theory says of the loss around one network."""

    def __init__(
        self, model: WeightNormNetwork, train: Split, length: Tensor, loss: Tensor, gradient: Tensor, average: Tensor
    ) -> None:
        self.network, self.output, self.length = model.theory(), model.output.detach().double(), length
        self.loss, self.gradient, self.average_gradient = loss, gradient, average
        self.inputs = train.inputs.flatten(1)
        at = passes(model.theory(torch.zeros_like(self.output[0])), self.inputs)
        outputs = self.network.s[-1] * at.a[-1] @ self.output.mT  # (n, K)
        self.residuals = outputs - _targets(outputs, train.labels)
        self.residual = torch.linalg.vector_norm(self.residuals, dim=-1).mean()
        self._sizes = [p.numel() for p in model.parameters()]
        self._rows = [layer.weight.detach().double() for layer in model.layers]
        self._names = [name for name, _ in model.named_parameters()]

    def convexity(self, radius: float, kappa: float) -> Tensor:
        """α within the radius, from B0t."""
        bounds = parameter_bounds(self.network, self.length, radius, matrix_norms(self.output))
        return restricted_convexity(self.average_gradient.norm(), bounds, self.residual.reshape(1), radius, kappa)

    def convexity_limit(self, kappa: float) -> float:
        """α as ρ → 0: 2κ²‖ḡ‖² − (2/n) Σ_i ‖r_i‖ H_i, with B1 of the prediction along each residual."""
        norms = torch.linalg.vector_norm(self.residuals, dim=-1)
        along = self.residuals / norms.clamp_min(1e-300).unsqueeze(-1)
        bounds = layer_bounds(passes(replace(self.network, output=along @ self.output), self.inputs))
        return restricted_convexity(self.average_gradient.norm(), bounds, norms, 0.0, kappa).item()

    def smoothness(self) -> Tensor:
        """β at θ: ≥ λ_max(∇²L), from B0t."""
        bounds = parameter_bounds(self.network, self.length, 0.0, matrix_norms(self.output))
        zero, none = torch.zeros((), dtype=torch.float64), torch.tensor(math.inf, dtype=torch.float64)
        return loss_smoothness(bounds, self.residual, zero, none).squeeze()

    def certified_step(self) -> tuple[float, float]:
        """η₁ and β along it."""
        norms = self._gradient_norms()
        arguments = (self.network, self.output, float(self.length))
        step, _ = certified_step(*arguments, norms, self.residual)
        return step.item(), smoothness_along_step(*arguments, step, norms, self.residual).item()

    def row_gradient_cosine(self) -> float:
        """max over hidden rows of |w·∇_w L|/(‖w‖‖∇L‖); 0 at a stationary point."""
        parts = dict(zip(self._names, self.gradient.split(self._sizes), strict=True))
        found = 0.0
        for layer, rows in enumerate(self._rows):
            along = (rows * parts[f"hidden.{layer}.weight"].view(rows.shape)).sum(-1).abs()
            norms = torch.linalg.vector_norm(rows, dim=-1) * self.gradient.norm().clamp_min(1e-300)
            found = max(found, (along / norms).max().item())
        return found

    def _gradient_norms(self) -> list[Tensor]:
        squares: dict[str, Tensor] = {}
        for name, part in zip(self._names, self.gradient.split(self._sizes), strict=True):
            layer = name.rpartition(".")[0]
            squares[layer] = squares.get(layer, part.new_zeros(())) + part.square().sum()
        return [square.sqrt() for square in squares.values()]


def _targets(outputs: Tensor, labels: Tensor) -> Tensor:
    """One-hot (n, K), or ±1 (n, 1)."""
    if outputs.shape[-1] == 1:
        return (2 * labels - 1).to(outputs).unsqueeze(-1)
    return torch.nn.functional.one_hot(labels, outputs.shape[-1]).to(outputs)
