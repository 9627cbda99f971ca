"""How often the bits of a gradient filter flip.

White gradients: independent of each other and of the bits, mean 0, equal variance. Then the inertia is Gaussian and the
share of bits that flip in a step is arccos(ρ)/π, ρ being the correlation of I_{t−1} and I_t (the arcsine law). Real
gradients are neither white nor of mean 0: the formulas are the noise's part of the flips, a baseline. Derived here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject
from boundcheck.theory.binary_filter.mappings import FilterMap, StateSpaceMap


def flip_ratio(correlation: npt.ArrayLike) -> FloatArray:
    """arccos(ρ)/π: the share of sign changes between two Gaussian numbers of correlation ρ and mean 0."""
    return np.arccos(np.clip(floats(correlation)[0], -1, 1)) / np.pi


def first_order_correlation(alpha: npt.ArrayLike) -> FloatArray:
    """ρ = 1−α of one average; flip ratio ≈ √(2α)/π for small α."""
    return 1 - floats(alpha)[0]


def second_order_correlation(alpha: npt.ArrayLike, gamma: npt.ArrayLike) -> FloatArray:
    """ρ = (2−α−γ)/(1+(1−α)(1−γ)) of two averages; flip ratio ≈ √(αγ)/π for small rates. γ = 1 is the first order."""
    alpha, gamma = floats(alpha, gamma)
    return (2 - alpha - gamma) / (1 + (1 - alpha) * (1 - gamma))


def third_order_correlation(alpha: npt.ArrayLike, gamma: npt.ArrayLike, delta: npt.ArrayLike) -> FloatArray:
    """ρ = (a₁+a₂a₃)/(1−a₂−a₁a₃−a₃²) of three averages with poles p = 1−α, q = 1−γ, r = 1−δ.

    a₁ = p+q+r, a₂ = −(pq+pr+qr), a₃ = pqr: the Yule-Walker equations of the third-order difference equation.
    """
    p, q, r = (1 - rate for rate in floats(alpha, gamma, delta))
    a1, a2, a3 = p + q + r, -(p * q + p * r + q * r), p * q * r
    return (a1 + a2 * a3) / (1 - a2 - a1 * a3 - a3**2)


def sgd_correlation(lr: npt.ArrayLike, weight_decay: npt.ArrayLike, momentum: npt.ArrayLike = 0.0) -> FloatArray:
    """ρ = (1+μ−ελ)/(1+μ) of torch's SGD with momentum, real poles or not: ε and λ act through their product."""
    lr, weight_decay, momentum = floats(lr, weight_decay, momentum)
    return (1 + momentum - lr * weight_decay) / (1 + momentum)


def nesterov_correlation(lr: npt.ArrayLike, weight_decay: npt.ArrayLike, momentum: npt.ArrayLike) -> FloatArray:
    """ρ = r₁/r₀ of torch's SGD with Nesterov momentum, from the Yule-Walker equations of its difference equation.

    I_t = a₁I_{t−1} + a₂I_{t−2} + b₀g_t + b₁g_{t−1} with a₁ = (1+μ)(1−β), a₂ = −μ(1−β), b₀ = β(1+μ), b₁ = −βμ, β = ελ:
    r₀ = a₁r₁ + a₂r₂ + p, r₁ = a₁r₀ + a₂r₁ + q, r₂ = a₁r₁ + a₂r₀, with p = b₀² + b₁(a₁b₀ + b₁) and q = b₀b₁.
    """
    lr, weight_decay, momentum = floats(lr, weight_decay, momentum)
    beta = lr * weight_decay
    a1, a2 = (1 + momentum) * (1 - beta), -momentum * (1 - beta)
    b0, b1 = beta * (1 + momentum), -beta * momentum
    p, q = b0**2 + b1 * (a1 * b0 + b1), b0 * b1
    r0 = (p * (1 - a2) + a1 * (1 + a2) * q) / ((1 - a2**2) * (1 - a2) - a1**2 * (1 + a2))
    return (a1 * r0 + q) / (1 - a2) / r0


def scheduled_flip_ratio(
    alpha: npt.ArrayLike,
    gamma: npt.ArrayLike = 1.0,
    delta: npt.ArrayLike = 1.0,
    *,
    start_variance: float = 0.0,
    start_momentum: float = 0.0,
) -> FloatArray:
    """Flip ratio of a filter of order 1 to 3 at each step, for rates that move and for any start.

    `propagated_flip_ratio` of x = (I, M, N): N ← (1−δ)N + δg, M ← (1−γ)M + γN, I ← (1−α)I + αM.
    From a start of 0 the first step is ½: the old bits say nothing.

    Args:
        alpha: α_t, (T,).
        gamma: γ_t, (T,) or a number; 1 for the first order.
        delta: δ_t, (T,) or a number; 1 up to the second order.
        start_variance: variance of I_0 over the weights, in units of the gradient's variance.
        start_momentum: that of M_0 (and of N_0), where they are proportional to I_0.

    Returns:
        (T,), in [0, 1].
    """
    a, c, d = np.broadcast_arrays(*floats(np.atleast_1d(alpha), gamma, delta))
    zero = np.zeros_like(a)
    rows = ([1 - a, a * (1 - c), a * c * (1 - d)], [zero, 1 - c, c * (1 - d)], [zero, zero, 1 - d])
    forward = np.moveaxis(np.array(rows), -1, 0)  # (T, 3, 3)
    push = np.stack([a * c * d, c * d, d], -1)  # (T, 3)
    start = np.sqrt([start_variance, start_momentum, start_momentum])
    return propagated_flip_ratio(forward, push, np.outer(start, start))


def scheduled_sgd_flip_ratio(
    rate: npt.ArrayLike,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    *,
    start_variance: float = 0.0,
) -> FloatArray:
    """Flip ratio of torch's SGD at each step, for any schedule, dampening and start, and for complex poles.

    `propagated_flip_ratio` of x = (I, V): V ← μV + (1−d)(g − I), I ← I + β_t V (Nesterov: I + β_t(g − I + μV)), where
    the first step has d = 0 and V_0 = 0: the recursion of `binary_filter.StateSpaceMap`.

    Args:
        rate: β_t = ε_t λ, (T,).
        momentum: μ.
        dampening: d.
        nesterov: Nesterov's form.
        start_variance: variance of I_0 over the weights, in units of the gradient's variance.

    Returns:
        (T,), in [0, 1].
    """
    beta = floats(np.atleast_1d(rate))[0]
    share = np.full_like(beta, 1 - dampening)
    share[:1] = 1.0
    direct = beta * (1 + momentum * share) if nesterov else beta * share  # what g − I adds to I
    carried = beta * momentum * (momentum if nesterov else 1.0)  # what V adds to I
    rows = ([1 - direct, carried], [-share, np.full_like(beta, momentum)])
    forward = np.moveaxis(np.array(rows), -1, 0)  # (T, 2, 2)
    return propagated_flip_ratio(forward, np.stack([direct, share], -1), np.diag([start_variance, 0.0]))


def filter_flip_ratio(mapped: FilterMap | StateSpaceMap, latent_variance: float = 0.0) -> FloatArray:
    """Flip ratio of a filter at each step: `scheduled_flip_ratio` or `scheduled_sgd_flip_ratio` of its numbers.

    Args:
        mapped: the filter; its weight decay does not move (`keep` is 1).
        latent_variance: mean square of the initial latent weights w_0, in units of the gradient's variance.

    Returns:
        (T,), in [0, 1].

    Raises:
        ValueError: the weight decay moves.
    """
    start = latent_variance * mapped.inertia**2
    if isinstance(mapped, StateSpaceMap):
        form = mapped.momentum, mapped.dampening, mapped.nesterov
        return scheduled_sgd_flip_ratio(mapped.rate, *form, start_variance=start)
    reject("keep", mapped.keep, bool(np.any(mapped.keep != 1)), "1 at every step")
    rates = mapped.alpha, mapped.gamma, mapped.delta
    return scheduled_flip_ratio(*rates, start_variance=start, start_momentum=latent_variance * mapped.momentum**2)


def propagated_flip_ratio(forward: FloatArray, push: FloatArray, start: FloatArray) -> FloatArray:
    """Flip ratio of the first component of x_t = F_t x_{t−1} + G_t g_t at each step, g_t white of variance 1.

    P_t = F_t P_{t−1} F_tᵀ + G_t G_tᵀ; ρ_t = (F_t P_{t−1})₁₁/√(P_{t−1,11} P_{t,11}). ½ where a variance is 0.

    Args:
        forward: F, (T, n, n).
        push: G, (T, n).
        start: P_0, (n, n), in units of the gradient's variance.
    """
    covariance, moments = start, np.empty((len(forward), 3))
    noise = push[:, :, None] * push[:, None, :]
    for t, (f, added) in enumerate(zip(forward, noise, strict=True)):
        moved, before = f @ covariance, covariance[0, 0]
        covariance = moved @ f.T + added
        moments[t] = before, moved[0, 0], covariance[0, 0]
    before, shared, after = moments.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = flip_ratio(shared / np.sqrt(before * after))
    return np.where(before * after > 0, ratios, 0.5)
