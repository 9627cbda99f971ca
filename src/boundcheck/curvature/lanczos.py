"""Extreme eigenpairs of a symmetric operator by Lanczos, with a bound on the error of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov, run
from boundcheck.curvature.operator import SymmetricOperator, random_direction, stacked
from boundcheck.curvature.ritz import StopRule


@dataclass(frozen=True)
class LanczosResult:
    """Eigenpairs that Lanczos found.

    Attributes:
        eigenvalues: λ_i (k,) float64; descending (descending in magnitude if so asked).
        eigenvectors: unit v_i (k, p).
        residuals: bounds (k,) float64 on ‖Av_i − λ_i v_i‖, rounding included; some eigenvalue of A lies within
            `residuals[i]` of λ_i, and λ_i itself is usually right to about residual²/gap.
        errors: bounds (k,) float64 on how far λ_i is from the eigenvalue of its place. They count eigenvalues that may
            have been missed, where several at one end were asked for; of a single one it is the residual.
        num_matvecs: products with A that were spent.
        converged: within the allowed products the stop rule was met and, where several at one end were asked for, no
            eigenvalue was missed; or the whole space was spanned.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor
    residuals: Tensor
    errors: Tensor
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
) -> LanczosResult:
    """The `top` largest and the `bottom` smallest eigenpairs of a symmetric operator.

    Grows an orthonormal Krylov basis Q with full reorthogonalisation, and takes Ritz pairs (λ, Qᵀs) of QAQᵀ. Stops
    when every wanted value moved by less than tolerance/3 and every residual is below `residual_tolerance` (both
    relative to max(|λ_i|, ‖A‖/100)) in three steps in a row, after at least 2k + 3 steps (k = top + bottom). The floor
    on the steps keeps an eigenvalue that the start barely contains from being missed. The residuals come from the
    recorded products A q_j and cost no further product.

    One start sees one copy of a multiple eigenvalue, and of close ones those that it contains. So where several
    eigenvalues of one end are asked for, a chain from a random vector orthogonal to the pairs follows. Either it finds
    pairs that were missed, and when these have settled another chain follows; or it excludes, up to
    `residual_tolerance` and a probability of 10⁻⁴, that an eigenvalue was missed (`missed.none_missed`): then the pairs
    are returned as they were.

    Args:
        operator: A, of size p.
        generator: draws the first vectors of the chains.
        top: how many of the largest eigenvalues.
        bottom: how many of the smallest.
        by_magnitude: `top` counts the largest |λ| instead; `bottom` must be 0.
        tolerance: relative accuracy of the eigenvalues, as observed.
        residual_tolerance: relative size that the certified residuals must reach; `tolerance` makes it the certificate.
        max_matvecs: products allowed; the result says whether they were enough.
        start: first vector (p,), such as the sum of the eigenvectors a few training steps ago: such a warm start
            stops after two steady steps and at least k + 2.

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

    def fresh() -> Tensor:
        return random_direction(operator, generator)[None]

    krylov = Krylov(stacked(operator), start[None], max_matvecs)
    rule = StopRule(top, bottom, by_magnitude, tolerance, residual_tolerance, is_warm)
    is_met = run(krylov, rule, fresh)
    if is_met and max(top, bottom) > 1 and krylov.num_products < operator.size:
        return _without_missed(operator, krylov, rule, fresh, max_matvecs)
    is_met |= krylov.num_products == operator.size
    vectors = krylov.lift(rule.vectors[None])[0]
    return LanczosResult(rule.values, vectors, rule.residuals, rule.residuals, krylov.num_products, is_met)


def _without_missed(
    operator: SymmetricOperator, krylov: Krylov, rule: StopRule, fresh: Callable[[], Tensor], max_matvecs: int
) -> LanczosResult:
    """The settled pairs of `rule`, after chains orthogonal to them have found those that were missed."""
    spent, num, has_missed_none = krylov.num_products, len(rule.values), False
    found, errors, vectors = rule, rule.residuals, krylov.lift(rule.vectors[None])[0]
    first = rule
    while spent < max_matvecs and not has_missed_none:
        kept, rule = rule, rule.anew()
        krylov = krylov.restarted(*kept.pairs(), fresh(), max_matvecs - spent)
        has_missed_none = _search(krylov, rule, kept, fresh)
        spent += krylov.num_products - num
        found, vectors = (kept, krylov.rows[0, :num]) if has_missed_none else (rule, krylov.lift(rule.vectors[None])[0])
        errors = kept.errors(krylov.rayleigh[0, num:, num:], operator.size - num) - (found.values - kept.values).abs()
        if krylov.num_products == operator.size:
            has_missed_none, errors = True, found.residuals
    residuals = found.residuals
    if found is not first and spent + num <= max_matvecs:  # what the recorded products say of them is a looser bound
        spent, products = spent + num, torch.stack([operator.matvec(vector) for vector in vectors])
        rests = products - found.values.to(vectors)[:, None] * vectors
        residuals = torch.linalg.vector_norm(rests, dim=1).to(residuals) + krylov.rounding
    errors = torch.maximum(errors, residuals)
    return LanczosResult(found.values, vectors.clone(), residuals, errors, spent, has_missed_none)


def _search(krylov: Krylov, rule: StopRule, kept: StopRule, fresh: Callable[[], Tensor]) -> bool:
    """Spend products on a chain orthogonal to the kept pairs, until better ones have settled, or none can be.

    Returns: whether it has excluded that there are better ones.
    """
    locked = len(kept.values)
    while True:
        krylov.expand()
        is_met, has_found = rule(krylov), rule.differs_from(kept)
        excludes = not has_found and kept.excludes_others(krylov.rayleigh[0, locked:, locked:], krylov.size - locked)
        if excludes or krylov.is_full or (has_found and is_met):
            return excludes
        krylov.extend(krylov.has_broken_down, fresh)


def _check(size: int, top: int, bottom: int, by_magnitude: bool, max_matvecs: int) -> None:
    if top < 0 or bottom < 0 or top + bottom == 0:
        raise ValueError(f"top, bottom: got {top}, {bottom}; allowed: >= 0, not both 0")
    if by_magnitude and bottom:
        raise ValueError(f"bottom: got {bottom}; allowed: 0 where the largest magnitudes are asked for")
    if max_matvecs < 1 or size < 1:
        raise ValueError(f"max_matvecs, operator.size: got {max_matvecs}, {size}; allowed: >= 1")
