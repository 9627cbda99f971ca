"""Gradient descent with adaptive momentum: what one step does, on any loss with a bounded largest curvature.

The method, with g_k = ∇E(w^k), a constant step size η and a momentum coefficient that adapts:
    Δw^{k+1} = −η g_k + τ_k Δw^k,   τ_k = s η ‖g_k‖/‖Δw^k‖   (0 where Δw^k = 0),
so Δw^{k+1} = η (−g_k + s r_k) with ‖r_k‖ = ‖g_k‖ (r_k = 0 where Δw^k = 0). The same holds block by block for any
partition of the weights, with ‖r_{k,b}‖ = ‖g_{k,b}‖. L is any upper bound on λ_max(∇²E) on the segment of the step;
c_k = ⟨Δw^k, −g_k⟩/(‖Δw^k‖ ‖g_k‖) is the alignment. Numbers and arrays broadcast. Statements not attributed are
derived here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


def update_bracket(gradient_norm: npt.ArrayLike, lr: npt.ArrayLike, s: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bound on the length of a step.

    Statement: (1 − s) η ‖g‖ ≤ ‖Δw‖ ≤ (1 + s) η ‖g‖, so steps vanish exactly when gradients do.
    Proof: Δw = η (−g + s r), ‖r‖ ≤ ‖g‖; the triangle inequality. Blocks: squared and summed.

    Args:
        gradient_norm: ‖g‖ ≥ 0, loss per unit of w.
        lr: η > 0.
        s: the momentum factor, in [0, 1].

    Returns:
        both bounds on ‖Δw‖, in units of w.
    """
    g, eta, s = _checked(gradient_norm, lr, s)
    return (1 - s) * eta * g, (1 + s) * eta * g


def descent_slope_bound(gradient_norm: npt.ArrayLike, lr: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """Lower bound on the first-order decrease −⟨g, Δw⟩ of a step.

    Statement: −⟨g, Δw⟩ ≥ (1 − s) η ‖g‖².
    Proof: −⟨g, Δw⟩ = η (‖g‖² − s ⟨g, r⟩) and Cauchy–Schwarz.
    """
    g, eta, s = _checked(gradient_norm, lr, s)
    return (1 - s) * eta * g**2


def cosine_bound(s: npt.ArrayLike) -> FloatArray:
    """Lower bound on the cosine of the angle between a step and the negative gradient.

    Statement: cos∠(Δw, −g) ≥ √(1 − s²); attained.
    Proof: the largest angle between −g and −g + s r with ‖s r‖ = s ‖g‖ is arcsin s.
    """
    (s,) = floats(s)
    reject("s", s, (s < 0) | (s > 1), "0 <= s <= 1")
    return np.sqrt(1 - s**2)


def paper_step_limit(curvature: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """η_P = 2 (1 − s)/(L (1 + s)²): below it the conservative bound makes the loss decrease (`paper_decrease`).

    References: the form of the step-size condition of Zhang, Wu, Zheng 2006 and of the work that follows it.
    """
    L, s = _checked_curvature(curvature, s)
    return 2 * (1 - s) / (L * (1 + s) ** 2)


def step_limit(curvature: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """η_S = 2/(L (1 + s)): below it the loss decreases at every step (`decrease`); (1 + s)/(1 − s) times η_P."""
    L, s = _checked_curvature(curvature, s)
    return 2 / (L * (1 + s))


def paper_decrease(lr: npt.ArrayLike, curvature: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """c_P of the conservative descent bound E(w + Δw) ≤ E(w) − c_P ‖g‖².

    Statement: c_P = η (1 − s) − (L/2) η² (1 + s)², positive exactly for η < η_P; at most (1 − s)²/(2L (1 + s)²).
    Proof: E(w + d) ≤ E + ⟨g, d⟩ + (L/2) ‖d‖² with `descent_slope_bound` and `update_bracket`, each at its worst.

    Args:
        lr: η > 0.
        curvature: L > 0, loss per squared unit of w.
        s: the momentum factor, in [0, 1].

    Returns:
        c_P, squared unit of w per loss; not positive where the bound promises nothing.
    """
    L, s = _checked_curvature(curvature, s)
    _, eta, s = _checked(0.0, lr, s)
    return eta * (1 - s) - L / 2 * eta**2 * (1 + s) ** 2


def decrease(lr: npt.ArrayLike, curvature: npt.ArrayLike, s: npt.ArrayLike) -> FloatArray:
    """c_S of the sharp descent bound E(w + Δw) ≤ E(w) − c_S ‖g‖².

    Statement: c_S = η min{(1 − s)(1 − Lη(1 − s)/2), (1 + s)(1 − Lη(1 + s)/2)}, positive exactly for η < η_S and s < 1;
    the first term is the smaller for η ≤ 1/L. Attained for ∇²E = L·1 and alignments c = ∓1. The best worst case is
    η = 1/L for every s, c_S = (1 − s²)/(2L).
    Proof: −⟨g, d⟩ − (L/2) ‖d‖² = η ‖g‖² [(1 + sc) − (Lη/2)(1 + 2sc + s²)] is affine in c ∈ [−1, 1], so worst at an
    end (`paper_decrease` takes c = −1 in one term and c = +1 in the other). With r = 0 it is η‖g‖² h(1),
    h(x) = x (1 − Lηx/2) concave, hence at least min h(1 ± s). Blocks: summed with their own c_b.

    Args:
        lr: η > 0.
        curvature: L > 0, loss per squared unit of w.
        s: the momentum factor, in [0, 1].

    Returns:
        c_S, squared unit of w per loss; not positive where the bound promises nothing.
    """
    L, s = _checked_curvature(curvature, s)
    _, eta, s = _checked(0.0, lr, s)
    against, along = ((1 + sign * s) * (1 - L * eta * (1 + sign * s) / 2) for sign in (-1, 1))
    return eta * np.minimum(against, along)


def predicted_decrease(slope: npt.ArrayLike, update_norm: npt.ArrayLike, curvature: npt.ArrayLike) -> FloatArray:
    """Bound on the decrease of one step from its realised direction: lower with λ_max, upper with λ_min.

    Statement: −⟨g, d⟩ − (λ_max/2) ‖d‖² ≤ E(w) − E(w + d) ≤ −⟨g, d⟩ − (λ_min/2) ‖d‖² for bounds λ_min, λ_max of the
    curvature ⟨d, ∇²E d⟩/‖d‖² on the segment.
    Proof: E(w + d) = E + ⟨g, d⟩ + ∫₀¹ (1 − t) ⟨d, ∇²E(w + td) d⟩ dt.
    The lower side is checked on runs; the upper one wants a λ_min from below, which a Ritz value is not.

    Args:
        slope: ⟨g, d⟩, in units of the loss.
        update_norm: ‖d‖ ≥ 0, in units of w.
        curvature: λ_max, or λ_min, of any sign.

    Returns:
        the bound on E(w) − E(w + d), in units of the loss.
    """
    slope, d, curvature = floats(slope, update_norm, curvature)
    reject("update_norm", d, d < 0, "update_norm >= 0")
    return -slope - curvature / 2 * d**2


def alignment(
    gradient_norm: npt.ArrayLike, update_norm: npt.ArrayLike, lr: npt.ArrayLike, s: npt.ArrayLike
) -> FloatArray:
    """c = ((‖Δw‖/(η‖g‖))² − 1 − s²)/(2s), from ‖Δw‖² = η² ‖g‖² (1 + 2sc + s²); NaN for s = 0 or g = 0."""
    g, eta, s = _checked(gradient_norm, lr, s)
    (d,) = floats(update_norm)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(s * g > 0, ((d / (eta * g)) ** 2 - 1 - s**2) / (2 * s), np.nan)


def effective_momentum_bracket(s: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Bounds on τ_k ‖g_{k−1}‖/‖g_k‖, the heavy-ball coefficient that the method amounts to.

    Statement: s/(1 + s) ≤ τ_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s); on a smooth path, where steps have length η (1 + s) ‖g‖ and
    gradients hardly change, τ_k is close to s/(1 + s).
    Proof: τ_k = sη ‖g_k‖/‖Δw^k‖ and `update_bracket` of Δw^k.
    """
    (s,) = floats(s)
    reject("s", s, (s < 0) | (s >= 1), "0 <= s < 1")
    return s / (1 + s), s / (1 - s)


def _checked(gradient_norm: npt.ArrayLike, lr: npt.ArrayLike, s: npt.ArrayLike) -> tuple[FloatArray, ...]:
    g, eta, s = floats(gradient_norm, lr, s)
    reject("gradient_norm", g, g < 0, "gradient_norm >= 0")
    reject("lr", eta, eta <= 0, "lr > 0")
    reject("s", s, (s < 0) | (s > 1), "0 <= s <= 1")
    return g, eta, s


def _checked_curvature(curvature: npt.ArrayLike, s: npt.ArrayLike) -> tuple[FloatArray, ...]:
    L, s = floats(curvature, s)
    reject("curvature", L, L <= 0, "curvature > 0")
    reject("s", s, (s < 0) | (s > 1), "0 <= s <= 1")
    return L, s
