"""Adaptive momentum in the long run: vanishing gradients, converging weights, rates, and what it cannot do.

All from E_k − E_{k+1} ≥ c ‖g_k‖² with c > 0 (`dag_momentum.step.decrease`) and the bracket of the step length
(`dag_momentum.step.update_bracket`). Numbers and arrays broadcast. Statements not attributed are derived here.

On a recorded run E* is not known. Sums, minima, path length and linear rate hold with the last recorded loss in its
place, for they follow from the recorded steps alone, and so they are checked there. `kl_rate_exponent`, `local_rate`
and `stability_plateau` are no bounds: an exponent without its constant, a heuristic, an empirical law. The first two
are tested on losses whose exponent and curvature are known, the third is a claim of its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


def gradient_sum_bound(initial_gap: npt.ArrayLike, decrease: npt.ArrayLike) -> FloatArray:
    """Upper bound on Σ_{k<K} ‖g_k‖²: (E_0 − E_K)/c, hence (E_0 − E*)/c for all K and ‖g_k‖ → 0.

    Proof: E_k − E_{k+1} ≥ c ‖g_k‖², summed.

    Args:
        initial_gap: E_0 − E_K, or E_0 − E*, ≥ 0.
        decrease: c > 0, as `dag_momentum.step.decrease` gives it.
    """
    gap, c = floats(initial_gap, decrease)
    reject("decrease", c, c <= 0, "decrease > 0")
    return gap / c


def least_gradient_bound(initial_gap: npt.ArrayLike, decrease: npt.ArrayLike, num_steps: npt.ArrayLike) -> FloatArray:
    """Upper bound on min_{k<K} ‖g_k‖²: (E_0 − E_K)/(cK); with η = 1/L it is 2L (E_0 − E_K)/((1 − s²) K).

    Proof: the least of K terms is at most a K-th of their sum. ‖g_k‖ itself need not be monotone.
    """
    (K,) = floats(num_steps)
    reject("num_steps", K, K < 1, "num_steps >= 1")
    return gradient_sum_bound(initial_gap, decrease) / K


def update_sum_bound(
    initial_gap: npt.ArrayLike, lr: npt.ArrayLike, s: npt.ArrayLike, decrease: npt.ArrayLike
) -> FloatArray:
    """Upper bound on Σ_{k<K} ‖Δw^{k+1}‖²: (1 + s)² η² (E_0 − E_K)/c, so that steps vanish.

    Proof: ‖Δw‖ ≤ (1 + s) η ‖g‖ and `gradient_sum_bound`.
    """
    return effective_step(lr, s) ** 2 * gradient_sum_bound(initial_gap, decrease)


def path_length_bound(
    gap: npt.ArrayLike,
    lr: npt.ArrayLike,
    s: npt.ArrayLike,
    decrease: npt.ArrayLike,
    kl: tuple[npt.ArrayLike, npt.ArrayLike],
) -> FloatArray:
    """Upper bound on Σ_{k≥K} ‖Δw^{k+1}‖, where the loss has the Kurdyka–Łojasiewicz property from w^K on.

    Statement: |E − E*|^θ ≤ C ‖∇E‖ on the path gives Σ_{k≥K} ‖Δw^{k+1}‖ ≤ (1 + s) η φ(E_K − E*)/c with
    φ(t) = C t^(1−θ)/(1 − θ): a path of finite length, so the weights converge to one point. Analytic activations
    (tanh, sigmoid, linear) make E analytic, and then θ and C exist near every limit point.
    Proof: φ concave: φ(E_k − E*) − φ(E_{k+1} − E*) ≥ φ'(E_k − E*) c ‖g_k‖² ≥ c ‖g_k‖; sum, and ‖Δw‖ ≤ (1 + s) η ‖g‖.

    Args:
        gap: E_K − E* ≥ 0.
        lr: η > 0.
        s: the momentum factor, in [0, 1).
        decrease: c > 0.
        kl: θ in [1/2, 1) and C > 0.

    References:
        Absil, Mahony, Andrews 2005 (a single limit point under the primary descent condition).
    """
    gap, eta, s, c = floats(gap, lr, s, decrease)
    theta, constant = floats(*kl)
    reject("kl", theta, (theta < 0.5) | (theta >= 1), "1/2 <= theta < 1")
    reject("decrease", c, c <= 0, "decrease > 0")
    return (1 + s) * eta * constant * gap ** (1 - theta) / ((1 - theta) * c)


def linear_rate(strong_convexity: npt.ArrayLike, decrease: npt.ArrayLike) -> FloatArray:
    """Factor q of E_{k+1} − E* ≤ q (E_k − E*): 1 − 2μc, where ‖∇E‖² ≥ 2μ (E − E*) (strong convexity, or PL alone).

    References: Zhang, Wu, Zheng 2006, for uniformly convex E.
    """
    mu, c = floats(strong_convexity, decrease)
    return 1 - 2 * mu * c


def kl_rate_exponent(theta: npt.ArrayLike) -> FloatArray:
    """Exponent p of E_k − E* = O(k^−p): 1/(2θ − 1) for θ in (1/2, 1), infinite (a linear rate) for θ = 1/2.

    θ < 1/2 cannot hold near a limit point of a C² loss: such a fitted exponent means that the run has not converged.
    """
    (theta,) = floats(theta)
    reject("theta", theta, (theta < 0.5) | (theta >= 1), "1/2 <= theta < 1")
    with np.errstate(divide="ignore"):
        return np.where(theta == 0.5, np.inf, 1 / (2 * theta - 1))


def weight_bound(initial_objective: npt.ArrayLike, weight_decay: npt.ArrayLike) -> FloatArray:
    """A-priori bound on ‖w^k‖ for all k: R = √(2 E_λ(w^0)/λ), where E_λ = E + (λ/2) ‖w‖² never rises and E ≥ 0.

    Proof: (λ/2) ‖w^k‖² ≤ E_λ(w^k) ≤ E_λ(w^0).

    Args:
        initial_objective: E_λ(w^0) ≥ 0.
        weight_decay: λ > 0.
    """
    E, lam = floats(initial_objective, weight_decay)
    reject("weight_decay", lam, lam <= 0, "weight_decay > 0")
    return np.sqrt(2 * E / lam)


def effective_step(lr: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """The step size of plain gradient descent that adaptive momentum amounts to on a smooth path: η (1 + s).

    There Δw^k is parallel to −g_k, so Δw^{k+1} = −η (1 + s) g_k. On any path it is a speed limit, ‖Δw‖ ≤ η (1 + s) ‖g‖
    and Σ ‖Δw‖ ≤ η (1 + s) Σ ‖g‖, never more than twice a plain step: it is not accelerated in the sense of a √κ.
    """
    eta, s = floats(lr, s)
    return eta * (1 + s)


def local_rate(curvature: npt.ArrayLike, lr: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """Factor per step of the slowest mode near a stationary point: 1 − η (1 + s) μ, above 1 for μ < 0 (a saddle).

    A heuristic: it takes `effective_step` for the step.
    """
    (mu,) = floats(curvature)
    return 1 - effective_step(lr, s) * mu


def stability_plateau(momentum: npt.ArrayLike) -> FloatArray:
    """Where λ_max η hovers when curvature rises until the step size is too large for it: 2 (1 + β), heavy ball's limit.

    An empirical law for networks and no theorem; it is the exact limit of stability of heavy ball on a quadratic.

    Args:
        momentum: β, for adaptive momentum the measured effective coefficient τ.

    References: Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability.
    """
    (beta,) = floats(momentum)
    return 2 * (1 + beta)
