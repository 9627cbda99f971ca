"""Extreme eigenpairs of a symmetric operator by Lanczos, with a bound on the error of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov, run
from boundcheck.curvature.operator import SymmetricOperator, random_direction, stacked


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
    is_warm = start is not None
    start = random_direction(operator, generator) if start is None else start.to(operator.device, operator.dtype)
    krylov = Krylov(stacked(operator), start[None], max_matvecs)
    rule = _StopRule(top, bottom, by_magnitude, tolerance, residual_tolerance, is_warm)
    is_met = run(krylov, rule, lambda: random_direction(operator, generator)[None], restarts)
    converged = is_met or krylov.num_products == operator.size
    return LanczosResult(
        rule.values, krylov.lift(rule.vectors[None])[0], rule.residuals, krylov.num_products, converged
    )


class _StopRule:
    """Steady values and small residuals in consecutive steps; see `lanczos`. Keeps the wanted Ritz pairs."""

    values: Tensor
    vectors: Tensor
    residuals: Tensor

    def __init__(
        self, top: int, bottom: int, by_magnitude: bool, tolerance: float, residual_tolerance: float, is_warm: bool
    ) -> None:
        self._wanted = (top, bottom, by_magnitude)
        self._tolerance, self._residual_tolerance = tolerance, residual_tolerance
        self._begin(is_warm)

    def _begin(self, is_warm: bool) -> None:
        self._is_warm, self._num_steps, self._num_steady = is_warm, 0, 0

    def __call__(self, krylov: Krylov) -> bool:
        if not krylov.beta.isfinite():
            raise FloatingPointError("matvec: the product has entries that are not finite")
        previous = self.values if krylov.num_products > 1 else None
        values, vectors = torch.linalg.eigh(krylov.rayleigh[0])  # (m,), (m, m)
        wanted = _wanted(values, *self._wanted)
        self.values, self.vectors = values[wanted], vectors[:, wanted]
        self.residuals = krylov.residuals(self.values[None], self.vectors[None])[0]
        scale = self.values.abs().clamp_min(values.abs().max().item() / 100)
        is_steady = (
            previous is not None
            and len(previous) == len(wanted)
            and bool(((self.values - previous).abs() <= self._tolerance / 3 * scale).all())
            and bool((self.residuals <= self._residual_tolerance * scale).all())
        )
        self._num_steps += 1
        self._num_steady = self._num_steady + 1 if is_steady else 0
        num_wanted = min(self._wanted[0] + self._wanted[1], krylov.size)
        enough = num_wanted + 2 if self._is_warm else 2 * num_wanted + 3
        is_met = self._num_steps >= enough and self._num_steady >= (2 if self._is_warm else 3)
        if is_met:
            self._begin(is_warm=False)  # a restart waits as a cold start does
        return is_met


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
