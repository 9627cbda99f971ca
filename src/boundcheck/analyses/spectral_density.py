"""The density of the eigenvalues of the training loss's Hessian."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

import torch

from boundcheck.analyses.flat_loss import BatchNormMode
from boundcheck.analyses.loss_hessian import LossHessian, hessian_rows
from boundcheck.analyses.settings import Precision, check_loss_settings
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.density import spectral_quadrature
from boundcheck.settings import Count, Ge, Positive, settings


@settings
class SpectralDensity:
    """The spectral density φ of H(θ) by stochastic Lanczos quadrature.

    Rows: `density_weight` (index = probe, coordinate = node λ, value = weight; the weights of a probe sum to 1) and
    `spectral_density` (coordinate = λ on an even grid over the nodes, value = φ(λ) smoothed by a Gaussian).
    A network that is not finite has only the row `loss`.

    Args:
        num_steps: Hessian-vector products per probe.
        num_probes: independent random starts.
        relative_width: standard deviation of the Gaussian, over the range of the nodes.
        num_points: of the grid.
        samples: examples from the start of the training split; None: all of it.
        dtype: precision.
        batch_norm: statistics that L uses; see `flat_loss`.
        chunk_size: examples in memory at once; None: all.
        retain: keep the gradient's graph of every chunk (fast, more memory).
    """

    quantities: ClassVar[str] = "loss spectral_density density_weight"

    num_steps: Count = 80
    num_probes: Count = 1
    relative_width: Positive = 0.005
    num_points: Annotated[int, Ge(2)] = 400
    samples: Count | None = 1000
    dtype: Precision = "float64"
    batch_norm: BatchNormMode = "eval"
    chunk_size: Count | None = None
    retain: bool = True

    def __post_init__(self) -> None:
        check_loss_settings(self)

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        return hessian_rows(self, snapshot, partial(self._rows, snapshot.generator))

    def _rows(self, generator: torch.Generator, at: LossHessian) -> list[Row]:
        quadrature = spectral_quadrature(at.hessian, self.num_steps, self.num_probes, generator)
        rows = [
            Row("density_weight", weight, index=probe, coordinate=node)
            for probe in range(len(quadrature.nodes))
            for node, weight in zip(quadrature.nodes[probe].tolist(), quadrature.weights[probe].tolist(), strict=True)
        ]
        low, high = quadrature.nodes.min().item(), quadrature.nodes.max().item()
        width = self.relative_width * ((high - low) or 1.0)
        grid = torch.linspace(low - 4 * width, high + 4 * width, self.num_points, dtype=torch.float64)
        heights = quadrature.density(grid, width).tolist()
        return rows + [Row("spectral_density", y, coordinate=x) for x, y in zip(grid.tolist(), heights, strict=True)]
