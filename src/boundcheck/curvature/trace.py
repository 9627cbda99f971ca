"""The trace of a symmetric operator: exact where it is tiny, otherwise estimated with a standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov, run
from boundcheck.curvature.operator import SymmetricOperator, random_direction, stacked


@dataclass(frozen=True)
class TraceEstimate:
    """An unbiased estimate `value` of tr A, the standard error of its random part (0 if exact), and its cost."""

    value: float
    standard_error: float
    num_matvecs: int


def exact_trace(operator: SymmetricOperator) -> TraceEstimate:
    """tr A = Σ_i e_i·A e_i, by p products."""
    total, unit = 0.0, torch.zeros(operator.size, dtype=operator.dtype, device=operator.device)
    for i in range(operator.size):
        unit[i] = 1
        total += operator.matvec(unit)[i].item()
        unit[i] = 0
    return TraceEstimate(total, 0.0, operator.size)


def hutchinson_trace(operator: SymmetricOperator, num_matvecs: int, generator: torch.Generator) -> TraceEstimate:
    """tr A = p E[u·Au] for u uniform on the unit sphere.

    References: Hutchinson 1990; Girard 1989.
    """
    _check(num_matvecs, 2)
    empty = torch.empty(0, operator.size, dtype=operator.dtype, device=operator.device)
    return _complement_trace(operator, empty, 0.0, 0, num_matvecs, generator)


def deflated_trace(operator: SymmetricOperator, num_matvecs: int, generator: torch.Generator) -> TraceEstimate:
    """tr A = tr(QAQᵀ) + tr((I − QᵀQ) A (I − QᵀQ)): Lanczos takes the large eigenvalues, Hutchinson the rest.

    Half of the products make the orthonormal Krylov basis Q (m, p), whose part Σ_j q_j·A q_j needs no further product;
    the other half are probes in its complement. It pays where a few outliers carry the Frobenius norm, on which the
    probes' error depends; where the bulk does, it is no better than Hutchinson at equal cost.

    Args:
        operator: A, of size p.
        num_matvecs: products to spend, >= 4; the trace is exact once half of them span the space.
        generator: draws the start of Lanczos and the probes.

    Returns: the estimate; its standard error is that of the probes.

    Raises:
        ValueError: too few products.

    References: Gambhir, Stathopoulos, Orginos 2017 (deflation as variance reduction).
    """
    _check(num_matvecs, 4)

    def fresh() -> Tensor:
        return random_direction(operator, generator)[None]

    krylov = Krylov(stacked(operator), fresh(), num_matvecs // 2)
    run(krylov, fresh=fresh)
    spent, inside = krylov.num_products, krylov.rayleigh[0].trace().item()
    return _complement_trace(operator, krylov.rows[0], inside, spent, num_matvecs - spent, generator)


def hutch_plus_plus_trace(operator: SymmetricOperator, num_matvecs: int, generator: torch.Generator) -> TraceEstimate:
    """As `deflated_trace` with Q an orthonormal basis of AS for a random S: thirds of the products for AS, AQᵀ, probes.

    References: Meyer, Musco, Musco, Woodruff 2021, Hutch++: optimal stochastic trace estimation.
    """
    _check(num_matvecs, 6)
    rank = min(num_matvecs // 3, operator.size)
    sketch = torch.stack([operator.matvec(random_direction(operator, generator)) for _ in range(rank)])  # (rank, p)
    rows = torch.linalg.qr(sketch.mT).Q.mT.contiguous()  # (rank, p)
    inside = sum(torch.dot(row, operator.matvec(row)).item() for row in rows)
    return _complement_trace(operator, rows, inside, 2 * rank, num_matvecs - 2 * rank, generator)


def _complement_trace(
    operator: SymmetricOperator, rows: Tensor, inside: float, spent: int, num_probes: int, generator: torch.Generator
) -> TraceEstimate:
    """inside + (p − m) E[u·Au], u uniform on the unit sphere of the complement of `rows` (m, p)."""
    dimension = operator.size - len(rows)
    if dimension == 0:
        return TraceEstimate(inside, 0.0, spent)
    samples = torch.empty(num_probes, dtype=torch.float64)
    for i in range(num_probes):
        probe = random_direction(operator, generator)
        for _ in range(2 if len(rows) else 0):
            probe.addmv_(rows.mT, rows @ probe, alpha=-1)
        probe.div_(torch.linalg.vector_norm(probe))
        samples[i] = dimension * torch.dot(probe, operator.matvec(probe)).item()
    return TraceEstimate(
        inside + samples.mean().item(), samples.std().item() / math.sqrt(num_probes), spent + num_probes
    )


def _check(num_matvecs: int, least: int) -> None:
    if num_matvecs < least:
        raise ValueError(f"num_matvecs: got {num_matvecs}; allowed: >= {least}")
