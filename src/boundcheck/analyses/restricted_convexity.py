"""Restricted strong convexity of the square loss of a weight-normalised network, and the rate that follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from boundcheck.analyses.flat_loss import flat_loss
from boundcheck.analyses.loss_surroundings import AveragePrediction, Surroundings
from boundcheck.contracts import LossFunction, Row, Snapshot
from boundcheck.curvature.hessian import loss_and_gradient
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.objectives import Square
from boundcheck.settings import Count, Positive, ShareAboveZero, settings
from boundcheck.theory.weight_norm.convexity import linear_rate, rate_bound

DOWNHILL = 2  # directions along which the least loss is searched


@settings
class RestrictedConvexity:
    """Where and how much the square loss is convex along directions δ with |cos(δ, ḡ)| ≥ κ, ‖δ‖ ≤ ρ.

    ḡ is the gradient of the mean over examples and outputs, divided by √K. Rows: `loss`, `gradient_norm`,
    `average_gradient_norm` ‖ḡ‖, `residual_norm` (mean ‖f − y‖), `row_gradient_cosine` (the largest
    |w·∇_w L|/(‖w‖‖∇L‖) over hidden rows), `convexity_limit` (α as ρ → 0, from B1), `loss_smoothness`
    (β at θ, from B0t); with coordinate ρ: `convexity` α, and with index = the direction `sampled_curvature`
    2(L(θ+δ) − L(θ) − ⟨δ, ∇L⟩)/‖δ‖²; where α > 0 `loss_after_step`, `certified_rate` αω(2−ω)/β and
    `rate_bound` for the certified step, with `least_loss` L′, the least found in the set: along the direction nearest
    to −∇L, down ±ḡ, and at the sampled points; L(θ) where none is lower. Only for weight_norm_mlp under the square
    loss on inputs of one length: else no rows.

    Args:
        radii: ρ, below every row norm.
        kappa: κ in (0, 1].
        directions: at each radius, the two searched ones among them.
        samples: examples from the start of the training split; none: all.
    """

    quantities: ClassVar[str] = (
        "loss gradient_norm average_gradient_norm residual_norm row_gradient_cosine convexity_limit "
        "loss_smoothness convexity sampled_curvature loss_after_step least_loss certified_rate rate_bound"
    )

    radii: Sequence[Positive] = (0.001, 0.01)
    kappa: ShareAboveZero = 0.9
    directions: Count = 8
    samples: Count | None = None

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        model, objective, generator = snapshot.model, snapshot.objective, snapshot.generator
        train = snapshot.train.first(self.samples)
        train = train._replace(inputs=train.inputs.double())
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
        alpha, start = around.convexity(radius, self.kappa).item(), around.loss.item()
        rows, least = [Row("convexity", alpha, coordinate=radius)], start
        for index, delta in enumerate(self._directions(around, generator)):
            slope, value = (delta @ around.gradient).item(), loss(theta + radius * delta).item()
            curvature = 2 * (value - start - radius * slope) / radius**2
            rows.append(Row("sampled_curvature", curvature, index, radius))
            least = min(least, value)
            if index < DOWNHILL and 0 < -slope < radius * curvature:  # the least loss lies on the way
                least = min(least, loss(theta - slope / curvature * delta).item())
        if alpha > 0:
            step, beta = around.certified_step()
            after_step = {
                "loss_after_step": loss(theta - step * around.gradient).item(),
                "least_loss": least,
                "certified_rate": np.asarray(linear_rate(alpha, beta, step * beta)).item(),
                "rate_bound": np.asarray(rate_bound(start, least, alpha, beta, step * beta)).item(),
            }
            rows += [Row(name, value, coordinate=radius) for name, value in after_step.items()]
        return rows

    def _directions(self, around: Surroundings, generator: torch.Generator) -> list[Tensor]:
        """Unit vectors of the cone around ±ḡ: the nearest to −∇L, that of ±ḡ which descends, and drawn ones."""
        axis = around.average_gradient / around.average_gradient.norm().clamp_min(1e-300)
        descends = -1.0 if axis @ around.gradient > 0 else 1.0
        directions = [nearest_in_cone(-around.gradient, axis, self.kappa), descends * axis][: self.directions]
        num = self.directions - len(directions)
        for index in range(num):
            noise = torch.randn(len(axis), dtype=torch.float64, generator=generator).to(axis)
            noise = noise - (noise @ axis) * axis
            cosine = self.kappa + (1 - self.kappa) * index / num
            sign = -1 if index % 2 else 1
            directions.append(sign * cosine * axis + math.sqrt(1 - cosine**2) * noise / noise.norm())
        return directions


def nearest_in_cone(wanted: Tensor, axis: Tensor, kappa: float) -> Tensor:
    """The unit vector δ (p,) with |cos(δ, axis)| ≥ κ at the least angle to `wanted` (p,); the axis has length 1.

    Where `wanted` is 0, or along the axis, δ is that axis or its opposite.
    """
    cosine = wanted @ axis / wanted.norm().clamp_min(1e-300)
    across = wanted - (wanted @ axis) * axis
    sign = -1.0 if cosine < 0 else 1.0
    if not across.norm() > 0:
        return sign * axis
    cosine = sign * cosine.abs().clamp(kappa, 1)
    return cosine * axis + (1 - cosine**2).clamp_min(0).sqrt() * across / across.norm()
