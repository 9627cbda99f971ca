"""Restricted strong convexity of the square loss of a weight-normalised network, and the rate that follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from boundcheck.analyses.flat_loss import flat_loss
from boundcheck.analyses.loss_surroundings import AveragePrediction, Surroundings
from boundcheck.analyses.settings import check_at_least, check_positive
from boundcheck.contracts import LossFunction, Objective, Row, Split
from boundcheck.curvature.hessian import loss_and_gradient
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.objectives import Square
from boundcheck.theory.weight_norm_convexity import rate_bound


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
        average, _ = flat_loss(model, AveragePrediction(), train, dtype=torch.float64)
        loss, gradient = loss_and_gradient(losses, theta)
        _, average_gradient = loss_and_gradient(average, theta)
        around = Surroundings(model, train, lengths.max(), loss, gradient, average_gradient)
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
        self, radius: float, around: Surroundings, loss: LossFunction, theta: Tensor, generator: torch.Generator
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

    def _directions(self, around: Surroundings, generator: torch.Generator) -> list[Tensor]:
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
