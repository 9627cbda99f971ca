"""How often the bits of a gradient filter flip, and how long its start is remembered.

White gradients: independent of each other and of the bits, mean 0, equal variance. Then the inertia is Gaussian and the
share of bits that flip in a step is arccos(ρ)/π, ρ being the correlation of I_{t−1} and I_t (the arcsine law). Real
gradients are neither white nor of mean 0: the formulas are the noise's part of the flips, a baseline. Derived here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


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


def scheduled_flip_ratio(
    alpha: npt.ArrayLike, gamma: npt.ArrayLike, start_variance: float = 0.0, start_momentum: float = 0.0
) -> FloatArray:
    """Flip ratio of a second-order filter at each step, for rates that move and for any start.

    P_t = F P_{t−1} Fᵀ + G Gᵀ for x = (I, M), F = [[1−α, α(1−γ)], [0, 1−γ]], G = (αγ, γ); the correlation of I_{t−1}
    and I_t is (F P_{t−1})₁₁/√(P_{t−1,11} P_{t,11}). From a start of 0 the first step is ½: the old bits say nothing.

    Args:
        alpha: α_t, (T,).
        gamma: γ_t, (T,) or a number; 1 for the first order.
        start_variance: variance of I_0 over the weights, in units of the gradient's variance.
        start_momentum: that of M_0, where M_0 is proportional to I_0.

    Returns:
        (T,), in [0, 1].
    """
    alpha, gamma = np.broadcast_arrays(*floats(alpha, gamma))
    cross = np.sqrt(start_variance * start_momentum)
    covariance = np.array([[start_variance, cross], [cross, start_momentum]], dtype=np.float64)
    ratios = np.empty(alpha.shape)
    for t, (a, g) in enumerate(zip(alpha, gamma, strict=True)):
        forward = np.array([[1 - a, a * (1 - g)], [0.0, 1 - g]])
        push = np.array([a * g, g])
        moved = forward @ covariance
        before = covariance[0, 0]
        covariance = moved @ forward.T + np.outer(push, push)
        scale = np.sqrt(before * covariance[0, 0])
        ratios[t] = flip_ratio(moved[0, 0] / scale) if scale > 0 else 0.5
    return ratios


class Fade(NamedTuple):
    """How long the start of a latent weight is remembered, in steps, and whether it is at all."""

    steps: FloatArray
    is_delayed: npt.NDArray[np.bool_]


def fade_steps(
    latent: npt.ArrayLike, lr: npt.ArrayLike, weight_decay: npt.ArrayLike, gradient_std: npt.ArrayLike
) -> Fade:
    """Steps until the gradients' noise outweighs the latent weight's start, for SGD without momentum.

    Statement: t* = ln(|w_0| √(2λ/ε)/σ_g)/α, α = ελ, where that logarithm is positive.
    Proof: (1−α)^t λ|w_0| = σ_g √(α/2), the stationary deviation of the inertia under white gradients.
    So an initial scale s times larger delays the flips by ln(s)/α steps and does nothing else (`extra_fade_steps`).

    Args:
        latent: |w_0|.
        lr: ε.
        weight_decay: λ.
        gradient_std: σ_g > 0, the standard deviation of a weight's gradient between steps.
    """
    latent, lr, weight_decay, gradient_std = floats(latent, lr, weight_decay, gradient_std)
    reject("gradient_std", gradient_std, gradient_std <= 0, "> 0")
    ratio = latent * np.sqrt(2 * weight_decay / lr) / gradient_std
    with np.errstate(divide="ignore"):
        steps = np.log(ratio) / (lr * weight_decay)
    return Fade(np.maximum(steps, 0.0), np.asarray(ratio > 1))


def extra_fade_steps(scale: npt.ArrayLike, alpha: npt.ArrayLike) -> FloatArray:
    """ln(s)/(−ln(1−α)) ≈ ln(s)/α: how much later bits are free when the initial scale is s times larger.

    Exact where both starts are remembered: (1−α)^{t+Δ} s λ|w_0| = (1−α)^t λ|w_0|. For a second-order filter α is the
    slower rate.
    """
    scale, alpha = floats(scale, alpha)
    return np.log(scale) / -np.log1p(-alpha)
