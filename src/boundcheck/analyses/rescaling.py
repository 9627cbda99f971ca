"""How flatness moves when a ReLU network is rescaled and its function stays."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from boundcheck.analyses.flat_loss import BatchNormMode
from boundcheck.analyses.settings import Precision, check_loss_settings, training_loss
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.flatness import flatness
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.lanczos import lanczos
from boundcheck.models.mlp import MLPNetwork
from boundcheck.settings import Count, CountOrZero, Positive, settings


@settings
class Rescaling:
    """R¹ and the sharpness of W₁ ↦ c W₁, b₁ ↦ c b₁, W₂ ↦ W₂/c: the same function, since φ(cz) = cφ(z) for ReLU.

    Rows, coordinate = c: `rescaled_first_order_flatness`, `rescaled_sharpness`, `rescaled_output_change` (largest
    change of an output, relative to the largest output), and `rescaled_flatness_ratio`, `rescaled_sharpness_ratio`
    (over the values at c = 1). The errors of R¹ are estimates of what the ascents missed, as of `flatness`, and that of
    its ratio follows. A network that is no ReLU perceptron with two layers or more has no row.

    Args:
        scales: c.
        rho: radius ρ, in units of θ.
        samples: examples from the start of the training split; None: all of it.
        starts: random starts of the ascents.
        iterations: ascent steps from each start.
        dtype: precision.
        batch_norm: statistics that L uses; see `flat_loss`.
        chunk_size: examples in memory at once; None: all.

    References:
        Dinh et al. 2017, Sharp minima can generalize for deep nets, arXiv:1703.04933.
    """

    quantities: ClassVar[str] = (
        "rescaled_first_order_flatness rescaled_sharpness rescaled_output_change rescaled_flatness_ratio "
        "rescaled_sharpness_ratio"
    )

    scales: Sequence[Positive] = (2.0, 5.0, 10.0)
    rho: Positive = 0.05
    samples: Count | None = 256
    starts: CountOrZero = 3
    iterations: Count = 10
    dtype: Precision = "float64"
    batch_norm: BatchNormMode = "eval"
    chunk_size: Count | None = None

    def __post_init__(self) -> None:
        check_loss_settings(self)

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        model = snapshot.model
        if not isinstance(model, MLPNetwork) or not isinstance(model.activation, nn.ReLU) or len(model.layers) < 2:
            return []
        inputs = snapshot.train.first(self.samples).inputs
        by_scale: dict[float, dict[str, tuple[float, float]]] = {}
        with torch.no_grad():
            outputs = model(inputs)
        for scale in (1.0, *self.scales):
            rescaled = rescale(model, scale)
            with torch.no_grad():
                change = ((rescaled(inputs) - outputs).abs().max() / outputs.abs().max()).item()
            first, missed, sharpness = self._flatness(snapshot._replace(model=rescaled))
            by_scale[scale] = {
                "rescaled_first_order_flatness": (first, missed),
                "rescaled_sharpness": (sharpness, math.nan),
                "rescaled_output_change": (change, math.nan),
            }
        rows = [
            Row(name, value, coordinate=c, error=error)
            for c, measured in by_scale.items()
            for name, (value, error) in measured.items()
        ]
        for name, quantity in (("flatness", "rescaled_first_order_flatness"), ("sharpness", "rescaled_sharpness")):
            base, base_missed = by_scale[1.0][quantity]
            for c in self.scales:
                value, missed = by_scale[c][quantity]
                ratio, error = value / base, max(missed / base, value / base - value / (base + base_missed))
                rows.append(Row(f"rescaled_{name}_ratio", ratio, coordinate=c, error=error))
        return rows

    def _flatness(self, snapshot: Snapshot) -> tuple[float, float, float]:
        """R¹, an estimate of what the ascents missed of it, and λ_max."""
        losses, theta = training_loss(self, snapshot)
        top = lanczos(HessianOperator(losses, theta), snapshot.generator)
        vector = top.eigenvectors[0]
        result = flatness(losses, theta, self.rho, snapshot.generator, self.starts, self.iterations, vector)
        return result.first, result.first_shortfall, top.eigenvalues[0].item()


@torch.no_grad()
def rescale(model: nn.Module, scale: float) -> nn.Module:
    """A copy of a perceptron with its first layer times `scale` and the weights of the second divided by it."""
    rescaled: Any = copy.deepcopy(model)
    first, second = rescaled.layers[0], rescaled.layers[1]
    for parameter in first.parameters():
        parameter.mul_(scale)
    second.weight.div_(scale)
    return rescaled
