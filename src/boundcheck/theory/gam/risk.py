"""Gradient norm aware minimisation (GAM): the PAC-Bayes bound on its risk, term by term.

The statement is derived here from that of sharpness-aware minimisation (Foret et al. 2021), with every constant
explicit. Numbers and arrays broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


def perturbation_scale(rho: npt.ArrayLike, num_parameters: npt.ArrayLike, num_samples: npt.ArrayLike) -> FloatArray:
    """Standard deviation of the Gaussian weight noise that seldom leaves the ball of radius ρ.

    σ = ρ/(√d + √log n).

    Args:
        rho: radius ρ > 0, in units of θ.
        num_parameters: d ≥ 1.
        num_samples: n ≥ 1, training examples.

    Returns:
        σ per coordinate, in units of θ.

    Raises:
        ValueError: a number out of its range.
    """
    rho, d, n = floats(rho, num_parameters, num_samples)
    reject("rho", rho, rho <= 0, "> 0")
    reject("num_parameters", d, d < 1, ">= 1")
    reject("num_samples", n, n < 1, ">= 1")
    return rho / (np.sqrt(d) + np.sqrt(np.log(n)))


def tail_probability_bound(num_samples: npt.ArrayLike) -> FloatArray:
    """Upper bound on the probability that the weight noise leaves the ball of radius ρ.

    Statement: P(‖ε‖ > ρ) ≤ 1/√n for ε ~ N(0, σ²I_d), σ = `perturbation_scale`.
    Proof: P(‖ε‖² ≥ σ²(d + 2√(dt) + 2t)) ≤ e^(−t) (Laurent and Massart) at t = ½ log n, where
    d + √(2 d log n) + log n ≤ (√d + √log n)².

    Args:
        num_samples: n ≥ 1, training examples.

    Returns:
        1/√n.

    Raises:
        ValueError: fewer than one sample.

    References:
        The tail bound as used by Foret et al. 2021, in the proof of eq. 13-14.
    """
    (n,) = floats(num_samples)
    reject("num_samples", n, n < 1, ">= 1")
    return 1 / np.sqrt(n)


@dataclass(frozen=True)
class RiskBound:
    """The terms of `pac_bayes_bound`, in units of the loss; the bound is their sum."""

    empirical_loss: FloatArray  # L̂(θ)
    first_order_flatness: FloatArray  # R¹_ρ(θ)
    tail: FloatArray  # M/√n, for noise that leaves the ball
    complexity: FloatArray  # M √(.../(n−1)), the distance of θ from the prior
    loss_bound: FloatArray  # M

    @property
    def total(self) -> FloatArray:
        """The bound on the expected risk."""
        return self.empirical_loss + self.first_order_flatness + self.tail + self.complexity

    @property
    def is_vacuous(self) -> npt.NDArray[np.bool_]:
        """True where the bound says no more than that the loss is at most M."""
        return self.total >= self.loss_bound


def pac_bayes_bound(
    empirical_loss: npt.ArrayLike,
    first_order_flatness: npt.ArrayLike,
    parameter_norm: npt.ArrayLike,
    *,
    num_parameters: npt.ArrayLike,
    num_samples: npt.ArrayLike,
    rho: npt.ArrayLike,
    delta: npt.ArrayLike = 0.05,
    loss_bound: npt.ArrayLike = 1.0,
) -> RiskBound:
    """Upper bound on the risk under weight noise: the PAC-Bayes bound with first-order flatness.

    Statement (derived here): with probability at least 1−δ over n independent training examples,
        E_ε L(θ+ε) ≤ L̂(θ) + R¹_ρ(θ) + M/√n
                     + M √( [ ¼ d log(1 + ‖θ‖²/(dσ²)) + ¼ + log(n/δ) + 2 log(6n+3d) ] / (n−1) ),
    ε ~ N(0, σ²I_d), σ = ρ/(√d + √log n).
    Assumptions: the loss of every example lies in [0, M] (cross entropy does not); ρ fixed before the data are seen.
    Proof: Foret et al. bound E_ε L(θ+ε) by E_ε L̂(θ+ε) plus the root, for M = 1; the general case is that of L/M.
    Split E_ε L̂(θ+ε) on ‖ε‖ ≤ ρ: at most L̂ + R⁰_ρ inside, at most M outside, which has probability
    `tail_probability_bound`. Last, R⁰_ρ ≤ R¹_ρ: so the bound is weaker than the one with R⁰, and cannot by itself
    argue for R¹. For networks it is vacuous, since d exceeds n.

    Args:
        empirical_loss: L̂(θ), mean over the training set, in [0, M].
        first_order_flatness: R¹_ρ(θ) of L̂, in units of the loss (R⁰_ρ(θ) gives the sharper bound).
        parameter_norm: ‖θ‖.
        num_parameters: d ≥ 1.
        num_samples: n ≥ 2, training examples.
        rho: radius ρ > 0, in units of θ.
        delta: probability δ that the bound fails, in (0, 1).
        loss_bound: M > 0, in units of the loss.

    Returns:
        Every term, with their sum `total` and `is_vacuous`.

    Raises:
        ValueError: a number out of its range.

    References:
        Foret et al. 2021 (SAM), eq. 13-14.
    """
    loss, flatness, theta, bound = floats(empirical_loss, first_order_flatness, parameter_norm, loss_bound)
    d, n, delta = floats(num_parameters, num_samples, delta)
    reject("num_samples", n, n < 2, ">= 2")
    reject("delta", delta, (delta <= 0) | (delta >= 1), "between 0 and 1")
    reject("loss_bound", bound, bound <= 0, "> 0")
    sigma = perturbation_scale(rho, d, n)
    divergence = d * np.log1p(theta**2 / (d * sigma**2)) / 4
    confidence = 0.25 + np.log(n / delta) + 2 * np.log(6 * n + 3 * d)
    complexity = bound * np.sqrt((divergence + confidence) / (n - 1))
    return RiskBound(loss[()], flatness[()], bound * tail_probability_bound(n), complexity, bound[()])
