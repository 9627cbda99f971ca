"""Extreme eigenpairs of a symmetric operator by Lanczos, with a bound on the error of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.curvature.krylov import KrylovBasis
from boundcheck.curvature.operator import SymmetricOperator, random_direction


@dataclass(frozen=True)
class LanczosResult:
    """Eigenpairs that Lanczos found.

    Attributes:
        eigenvalues: λ_i (k,) float64; descending (descending in magnitude if so asked).
        eigenvectors: unit v_i (k, p).
        residuals: bounds (k,) float64 on ‖Av_i − λ_i v_i‖, rounding included; some eigenvalue of A lies within
            `residuals[i]` of λ_i, and λ_i itself is usually right to about residual²/gap.
        num_matvecs: products with A that were spent.
        converged: the stop rule was met (or the whole space was spanned) within the allowed products.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor
    residuals: Tensor
    num_matvecs: int
    converged: bool


def lanczos(
    operator: SymmetricOperator,
    generator: torch.Generator,
    top: int = 1,
    bottom: int = 0,
    by_magnitude: bool = False,
    tolerance: float = 1e-3,
    residual_tolerance: float = 0.1,
    max_matvecs: int = 300,
    start: Tensor | None = None,
    restarts: int = 0,
) -> LanczosResult:
    """The `top` largest and the `bottom` smallest eigenpairs of a symmetric operator.

    Grows an orthonormal Krylov basis Q with full reorthogonalisation, and takes Ritz pairs (λ, Qᵀs) of QAQᵀ. Stops
    when every wanted value moved by less than tolerance/3 and every residual is below `residual_tolerance` (both
    relative to max(|λ_i|, ‖A‖/100)) in three steps in a row, after at least 2k + 3 steps (k = top + bottom). The floor
    on the steps keeps an eigenvalue that the start barely contains from being missed. The residuals come from the
    recorded products A q_j and cost no further product. One start sees one copy of a multiple eigenvalue; further
    copies are found after a breakdown (an invariant subspace: the basis goes on from a random vector) or by `restarts`.

    Args:
        operator: A, of size p.
        generator: draws the start and the restarts.
        top: how many of the largest eigenvalues.
        bottom: how many of the smallest.
        by_magnitude: `top` counts the largest |λ| instead; `bottom` must be 0.
        tolerance: relative accuracy of the eigenvalues, as observed.
        residual_tolerance: relative size that the certified residuals must reach; `tolerance` makes it the certificate.
        max_matvecs: products allowed; the result says whether they were enough.
        start: first vector (p,), such as the sum of the eigenvectors a few training steps ago: such a warm start
            stops after two steady steps and at least k + 2.
        restarts: after convergence go on this often from a fresh random vector, to find copies of multiple eigenvalues.

    Returns: the eigenpairs; fewer than k only if p < k or `max_matvecs` < k.

    Raises:
        ValueError: a count or a tolerance that makes no sense.
        FloatingPointError: a product that is not finite.

    References: Parlett 1998, The symmetric eigenvalue problem, ch. 13; Daniel, Gragg, Kaufman, Stewart 1976 (when to
        orthogonalise twice); Wu, Simon 2000 (restarting).
    """
    _check(operator.size, top, bottom, by_magnitude, max_matvecs)
    for name, number in (("tolerance", tolerance), ("residual_tolerance", residual_tolerance)):
        if not number > 0:
            raise ValueError(f"{name}: got {number}; allowed: > 0")
    limit = min(operator.size, max_matvecs)
    basis = KrylovBasis(operator)
    rule = _StopRule(min(top + bottom, operator.size), tolerance, residual_tolerance, warm=start is not None)
    basis.add(random_direction(operator, generator) if start is None else start)
    while True:
        basis.expand()
        values, vectors = torch.linalg.eigh(basis.rayleigh)  # (m,), (m, m)
        wanted = _wanted(values, top, bottom, by_magnitude)
        residuals = basis.residuals(values[wanted], vectors[:, wanted])
        converged = rule.is_met(values, values[wanted], residuals)
        if basis.num_matvecs == limit or (converged and not restarts):
            break
        if converged:
            restarts -= 1
            rule.reset()
        if converged or basis.has_broken_down:
            basis.restart(random_direction(operator, generator))
        else:
            basis.extend()
    converged = converged or basis.num_matvecs == operator.size
    return LanczosResult(values[wanted], basis.lift(vectors[:, wanted]), residuals, basis.num_matvecs, converged)


@dataclass
class _StopRule:
    """Steady values and small residuals in consecutive steps; see `lanczos`."""

    num_wanted: int
    tolerance: float
    residual_tolerance: float
    warm: bool
    previous: Tensor | None = None
    num_steps: int = 0
    num_steady: int = 0

    def is_met(self, values: Tensor, wanted: Tensor, residuals: Tensor) -> bool:
        self.num_steps += 1
        scale = wanted.abs().clamp_min(values.abs().max().item() / 100)
        steady = (
            self.previous is not None
            and len(self.previous) == len(wanted)
            and bool(((wanted - self.previous).abs() <= self.tolerance / 3 * scale).all())
            and bool((residuals <= self.residual_tolerance * scale).all())
        )
        self.previous = wanted
        self.num_steady = self.num_steady + 1 if steady else 0
        enough = self.num_wanted + 2 if self.warm else 2 * self.num_wanted + 3
        return self.num_steps >= enough and self.num_steady >= (2 if self.warm else 3)

    def reset(self) -> None:
        self.num_steps = self.num_steady = 0
        self.warm = False


def _wanted(values: Tensor, top: int, bottom: int, by_magnitude: bool) -> Tensor:
    """Indices of the wanted Ritz values among ascending `values` (m,), in the order of the result."""
    if by_magnitude:
        return values.abs().argsort(descending=True, stable=True)[:top]
    order = torch.arange(len(values) - 1, -1, -1)
    if len(values) <= top + bottom:
        return order
    return torch.cat([order[:top], order[len(values) - bottom :]])


def _check(size: int, top: int, bottom: int, by_magnitude: bool, max_matvecs: int) -> None:
    if top < 0 or bottom < 0 or top + bottom == 0:
        raise ValueError(f"top, bottom: got {top}, {bottom}; allowed: >= 0, not both 0")
    if by_magnitude and bottom:
        raise ValueError(f"bottom: got {bottom}; allowed: 0 where the largest magnitudes are asked for")
    if max_matvecs < 1 or size < 1:
        raise ValueError(f"max_matvecs, operator.size: got {max_matvecs}, {size}; allowed: >= 1")
