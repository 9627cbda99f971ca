"""The spectral density of a symmetric operator by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov, run
from boundcheck.curvature.operator import SymmetricOperator, random_direction, stacked


@dataclass(frozen=True)
class SpectralQuadrature:
    """Gauss quadrature of the spectral measure, one row per probe.

    Attributes:
        nodes: (num_probes, num_steps) float64.
        weights: (num_probes, num_steps) float64, each row summing to 1; 0 pads a probe that broke down early.
    """

    nodes: Tensor
    weights: Tensor

    def moment(self, power: int) -> float:
        """The estimate of tr(A^power)/p."""
        return (self.weights * self.nodes**power).sum(1).mean().item()

    def density(self, grid: Tensor, width: float) -> Tensor:
        """φ(t) = mean over probes of Σ_i w_i N(t; λ_i, width²) at t = `grid` (n,), in 1/unit of λ: (n,) float64."""
        distance = (grid.double().unsqueeze(1) - self.nodes.flatten()) / width  # (n, probes · steps)
        bumps = torch.exp(-(distance**2) / 2) / (width * math.sqrt(2 * math.pi))
        return bumps @ self.weights.flatten() / len(self.weights)


def spectral_quadrature(
    operator: SymmetricOperator, num_steps: int, num_probes: int, generator: torch.Generator
) -> SpectralQuadrature:
    """Nodes and weights of φ(λ) = (1/p) Σ_i δ(λ − λ_i), from `num_probes` runs of Lanczos of `num_steps`.

    For a random unit u with Lanczos matrix T = VΘVᵀ: E Σ_j V_1j² f(Θ_j) = tr f(A)/p for polynomials f of degree below
    2 · num_steps. The three-term recurrence runs without reorthogonalisation: copies of converged eigenvalues share
    one weight, which is harmless in a quadrature; never read eigenvalues or their multiplicity off the nodes.

    Args:
        operator: A, of size p.
        num_steps: products per probe; capped at p.
        num_probes: independent starts.
        generator: draws them.

    Returns: the quadrature.

    Raises:
        ValueError: a count below 1.

    References: Golub, Welsch 1969; Ubaru, Chen, Saad 2017; Ghorbani, Krishnan, Xiao 2019.
    """
    for name, count in (("num_steps", num_steps), ("num_probes", num_probes)):
        if count < 1:
            raise ValueError(f"{name}: got {count}; allowed: >= 1")
    num_steps = min(num_steps, operator.size)
    nodes, weights = torch.zeros(2, num_probes, num_steps, dtype=torch.float64)
    starts = torch.stack([random_direction(operator, generator) for _ in range(num_probes)])
    krylov = Krylov(stacked(operator), starts, num_steps, reorthogonalise=False)
    run(krylov, stop=lambda krylov: bool(krylov.has_broken_down.all()))
    for i, tridiagonal in enumerate(krylov.rayleigh):
        size = 1 + int((tridiagonal.diagonal(1) != 0).cumprod(0).sum())  # zeros follow a breakdown
        values, vectors = torch.linalg.eigh(tridiagonal[:size, :size])
        nodes[i, :size], nodes[i, size:] = values, values[-1]
        weights[i, :size] = vectors[0] ** 2
    return SpectralQuadrature(nodes, weights)
