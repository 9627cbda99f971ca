"""How large an eigenvalue can be that Lanczos has missed, and what that means for the eigenvalues that it found."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FAILURE = 1e-4  # the probability with which a limit may be wrong


def none_missed(tridiagonal: Tensor, dimension: int, at: float, failure: float = FAILURE) -> bool:
    """Whether it is excluded that an operator B has an eigenvalue of `at` or more, above those that Lanczos found.

    Statement: let T (m, m) come from Lanczos on B with a start uniform on the unit sphere of n dimensions, and let p_j
    be the polynomials of degree j that are orthonormal for the start's spectral measure: T holds their recurrence. An
    eigenvalue of μ or more, above all of T's, has at most the weight 1/Σ_{j<m} p_j(μ)² in that measure, which is the
    square of the start's part along its eigenvector. A random start has a part of square t or less with a probability
    of at most √(2nt/π). So Σ p_j(μ)² ≥ 2n/(π failure²) excludes it, but for that probability of failure.
    Where the chain has ended, with a zero beside the diagonal of T, it has missed nothing.

    Args:
        tridiagonal: T, float64.
        dimension: n.
        at: μ.
        failure: the probability with which the start may be too poor.

    References: Kuczyński, Woźniakowski 1992 (a random start); Van Dorsselaer, Hochstenbach, Van der Vorst 2000,
        Computing probabilistic bounds for extreme eigenvalues of symmetric matrices with the Lanczos method.
    """
    least = 2 * dimension / (math.pi * failure**2)
    alpha, beta = tridiagonal.diagonal().tolist(), tridiagonal.diagonal(1).tolist()
    if at < torch.linalg.eigvalsh(tridiagonal)[-1].item():
        return False
    before, value, total, last = 0.0, 1.0, 1.0, 0.0
    for diagonal, link in zip(alpha, beta, strict=False):
        if link == 0:
            return True
        before, value, last = value, ((at - diagonal) * value - last * before) / link, link
        total += value * value
        if total >= least:
            return True
    return False


def largest_missed(tridiagonal: Tensor, dimension: int, failure: float = FAILURE) -> float:
    """The least number, to six digits, at which `none_missed` holds; infinite where T is too small for any."""
    values = torch.linalg.eigvalsh(tridiagonal)
    low = high = values[-1].item()
    step = 1e-6 * max(abs(low), abs(values[0].item()))
    for _ in range(100):
        if none_missed(tridiagonal, dimension, high, failure):
            break
        low, high, step = high, high + step, 2 * step
    else:
        return math.inf
    for _ in range(20):
        middle = (low + high) / 2
        if none_missed(tridiagonal, dimension, middle, failure):
            high = middle
        else:
            low = middle
    return high


def upper_limits(values: Tensor, residuals: Tensor, missed: float) -> Tensor:
    """Upper bounds (k,) on the k largest eigenvalues of a symmetric A, in descending order.

    Statement: let A = [Θ R; Rᵀ B] in an orthonormal basis that begins with Ritz vectors, λ_max(B) ≤ b = `missed`, and
    r_i the norms of the rows of R. For μ > b as many eigenvalues of A lie above μ as of Θ + R (μ − B)⁻¹ Rᵀ
    (Sylvester's law of inertia), which is at most diag(θ_i + r_i Σr/(μ − b)), for RRᵀ ≤ diag(r_i Σr) by the inequality
    of Cauchy and Schwarz. Entry i lies above μ up to the larger root of (μ − θ_i)(μ − b) = r_i Σr.

    Args:
        values: θ (k,).
        residuals: r (k,).
        missed: b.
    """
    half = (values - missed) / 2
    limits = (values + missed) / 2 + (half.square() + residuals * residuals.sum()).sqrt()
    return limits.sort(descending=True).values
