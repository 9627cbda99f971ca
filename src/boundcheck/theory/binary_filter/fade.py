"""How long the start of a latent weight is remembered by a gradient filter. Derived here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


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
