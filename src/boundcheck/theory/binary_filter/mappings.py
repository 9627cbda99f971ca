"""Latent-weight training of binary networks as a filter of the gradients: the map between the two, row by row.

A binary weight is b = sign(w) of a latent weight w that follows the gradient g = ∂L/∂b (straight-through). With weight
decay λ and learning rate ε the latent weight is, up to a positive factor, an average of the gradients: I = −λw obeys
I ← (1−α) I + α M, M ← (1−γ) M + γ g, b = −sign(I) ("inertia" I, momentum M). Each function here takes the learning
rates ε_1 … ε_T of a latent optimizer and returns the filter with the same bits at every step. Derived here; the idea
is that of Quist, Li, van Gemert 2023 (arXiv:2303.02452), after Helwegen et al. 2019.

Premises of all rows: identity straight-through gradient, no clipping, no scaling, equal first bits (sign(0) = +1).
Frequency responses: `binary_filter.response`; how often bits flip: `binary_filter.flips`; how long a start is
remembered: `binary_filter.fade`; which changes of the hyperparameters change no bit: `binary_filter.symmetry`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


class Rates(NamedTuple):
    """α (inertia, the smaller) and γ (momentum, the larger) of a cascade of two averages; NaN where not real."""

    alpha: FloatArray
    gamma: FloatArray


class FilterMap(NamedTuple):
    """I_t = keep_t (1−α_t) I_{t−1} + α_t M_t, M_t = (1−γ_t) M_{t−1} + γ_t ĝ_t; I_0 = −inertia·w_0, M_0 = −momentum·w_0.

    `alpha`, `gamma`, `keep` (T,), one for each step; `keep` is 1 unless the weight decay moves. ĝ_t is the gradient,
    or what the row says. A filter of the third order has a third average in front of M, with the rates `delta` (T,)
    and the same start as M; 1: there is none.
    """

    alpha: FloatArray
    gamma: FloatArray
    keep: FloatArray
    inertia: float
    momentum: float
    delta: FloatArray | float = 1.0


class StateSpaceMap(NamedTuple):
    """V_t = μV_{t−1} + (1−d)(g_t − I_{t−1}), I_t = I_{t−1} + rate_t V_t, with V_1 = g_1 − I_0 and I_0 = −inertia·w_0.

    With Nesterov momentum I_t = I_{t−1} + rate_t ((g_t − I_{t−1}) + μV_t). Exact for every schedule and for complex
    poles; `rate` (T,).
    """

    rate: FloatArray
    momentum: float
    dampening: float
    nesterov: bool
    inertia: float


def largest_real_rate(momentum: npt.ArrayLike) -> FloatArray:
    """The largest β = ελ(1−d) whose filter is a cascade of two real averages: (1−√μ)².

    Above it the poles are complex: a resonant filter, which `state_space_of_sgd` still maps exactly.
    """
    return (1 - np.sqrt(floats(momentum)[0])) ** 2


def sgd_rates(
    lr: npt.ArrayLike, weight_decay: npt.ArrayLike, momentum: npt.ArrayLike = 0.0, dampening: npt.ArrayLike = 0.0
) -> Rates:
    """α, γ of torch's SGD at a constant learning rate, weight decay inside the momentum.

    Statement: αγ = β and (1−α)(1−γ) = μ with β = ελ(1−d): the roots of x² − (1−μ+β)x + β = 0.
    Proof: without v, w_t = (1+μ−β)w_{t−1} − μw_{t−2} − ε(1−d)g_t; compare with the cascade's difference equation.
    Real iff β ≤ (1−√μ)² (`largest_real_rate`) or β ≥ (1+√μ)². For small β: α ≈ ελ/(1−μ), γ ≈ 1−μ.

    Args:
        lr: ε > 0.
        weight_decay: λ ≥ 0.
        momentum: μ in [0, 1).
        dampening: d in [0, 1), of a momentum; it also makes the first step's γ larger by 1/(1−d).

    Returns:
        The rates, NaN where the poles are complex.
    """
    lr, weight_decay, momentum, dampening = floats(lr, weight_decay, momentum, dampening)
    beta = lr * weight_decay * (1 - np.where(momentum > 0, dampening, 0.0))
    return _roots(1 - momentum + beta, beta)


def nesterov_rates(lr: npt.ArrayLike, weight_decay: npt.ArrayLike, momentum: npt.ArrayLike) -> Rates:
    """α, γ of torch's SGD with Nesterov momentum at a constant learning rate.

    Statement: αγ = β, (1−α)(1−γ) = μ(1−β) with β = ελ: the roots of x² − (2−(1+μ)(1−β))x + β. The filter is fed with
    ĝ_t = (1+μ)g_t − μg_{t−1}, g_0 = −λw_0.

    Returns:
        The rates, NaN where the poles are complex.
    """
    lr, weight_decay, momentum = floats(lr, weight_decay, momentum)
    beta = lr * weight_decay
    return _roots(2 - (1 + momentum) * (1 - beta), beta)


def riccati_rates(gamma: float, alpha: float, beta: float, momentum: float) -> tuple[float, float]:
    """(α, γ) of the next step of torch's SGD under a schedule, from those of this step.

    Statement: y = γ_t(1−α_t), γ_{t+1} = y/(μ+y), α_{t+1} = β_{t+1}/γ_{t+1}. Start at the roots for β_1, at the larger
    one for γ; with M_0 = I_0 any γ_1 is exact, and the recursion contracts by (1−γ)/(1−α).

    Args:
        gamma: γ_t.
        alpha: α_t.
        beta: ε_{t+1} λ.
        momentum: μ.
    """
    y = gamma * (1 - alpha)
    following = y / (momentum + y)
    return beta / following, following


def filter_of_sgd(lrs: npt.ArrayLike, weight_decay: float) -> FilterMap:
    """SGD without momentum: w ← (1−ε_tλ)w − ε_t g is the average with α_t = ε_tλ, γ = 1, I = −λw.

    So ε and λ act through their product only, and w_0 through λw_0. Multiply the update by −λ. AdamW is the same row,
    with ĝ_t = m̂_t/(√v̂_t + ϵ).
    """
    alpha = floats(lrs)[0] * weight_decay
    return FilterMap(alpha, np.ones_like(alpha), np.ones_like(alpha), weight_decay, weight_decay)


def filter_of_averaged_momentum(lrs: npt.ArrayLike, weight_decay: float, gamma: float) -> FilterMap:
    """Averaged momentum, decoupled decay: m ← (1−γ)m + γg, w ← (1−ε_tλ)w − ε_t m has α_t = ε_tλ and the same γ.

    I = −λw, M = m. Exact for every schedule: the decay of the learning rate is a decay of α and nothing else.
    """
    alpha = floats(lrs)[0] * weight_decay
    return FilterMap(alpha, np.full_like(alpha, gamma), np.ones_like(alpha), weight_decay, 0.0)


def filter_of_heavy_ball(lrs: npt.ArrayLike, weight_decay: float, momentum: float) -> FilterMap:
    """Heavy ball, decoupled decay (SGDW): v ← μv + g, w ← (1−ε_tλ)w − ε_t v has α_t = ε_tλ, γ = 1−μ.

    I = −λ(1−μ)w, M = (1−μ)v. Exact for every schedule.
    """
    averaged = filter_of_averaged_momentum(lrs, weight_decay, 1 - momentum)
    return averaged._replace(inertia=weight_decay * (1 - momentum))


def filter_of_torch_sgd(lrs: npt.ArrayLike, weight_decay: float, momentum: float) -> FilterMap:
    """torch's SGD with momentum under any schedule, as a cascade whose rates follow `riccati_rates`.

    I_0 = M_0 = −λw_0: the decay of w_0 also enters the momentum buffer.

    Raises:
        ValueError: complex poles at the first learning rate; use `state_space_of_sgd`.
    """
    betas = floats(lrs)[0] * weight_decay
    first = _roots(1 - momentum + betas[0], betas[0])
    largest = largest_real_rate(momentum)
    reject("lrs", lrs, np.isnan(first.alpha), f"lr * weight_decay <= {largest:.6g} at the first step")
    rates = [(float(first.alpha), float(first.gamma))]
    for beta in betas[1:]:
        alpha, gamma = rates[-1]
        rates.append(riccati_rates(gamma, alpha, float(beta), momentum))
    alpha, gamma = np.array(rates).T
    return FilterMap(alpha, gamma, np.ones_like(alpha), weight_decay, weight_decay)


def filter_of_dampened_sgd(lr: float, weight_decay: float, momentum: float, dampening: float, steps: int) -> FilterMap:
    """torch's SGD with dampening d at a constant learning rate: `sgd_rates`, with γ_1 = γ/(1−d) at the first step."""
    rates = sgd_rates(lr, weight_decay, momentum, dampening)
    gamma = np.full(steps, rates.gamma)
    gamma[0] /= 1 - dampening if momentum else 1.0
    return FilterMap(np.full(steps, rates.alpha), gamma, np.ones(steps), weight_decay, weight_decay)


def filter_of_nesterov(lr: float, weight_decay: float, momentum: float, steps: int) -> FilterMap:
    """torch's SGD with Nesterov momentum at a constant learning rate; its input is that of `nesterov_rates`."""
    rates = nesterov_rates(lr, weight_decay, momentum)
    return FilterMap(
        np.full(steps, rates.alpha), np.full(steps, rates.gamma), np.ones(steps), weight_decay, weight_decay
    )


def filter_without_decay(
    lrs: npt.ArrayLike, momentum: float = 0.0, dampening: float = 0.0, start: float = 1.0
) -> FilterMap:
    """Weight decay 0, a sum that never forgets: α_t = ε_t/S_t with S_t = S_{t−1} + ε_t, for any S_0 > 0.

    Statement: for torch's v ← μv + (1−d)g (the first v is g), w ← w − ε_t v: I = −cw/S_t, M = cv with c = (1−μ)/(1−d);
    γ = 1−μ, at the first step γ/(1−d); I_0 = −cw_0/S_0. Nesterov momentum (d = 0): fed with (1+μ)g_t − μg_{t−1},
    g_0 = 0. Averaged momentum: c = 1. Proof: −cw_t/S_t = (S_{t−1}/S_t) I_{t−1} + (ε_t/S_t) cv_t.

    Args:
        lrs: ε_1 … ε_T.
        momentum: μ; 0: none.
        dampening: d in [0, 1).
        start: S_0, a gauge without effect on any bit.
    """
    lrs = floats(lrs)[0]
    reject("start", start, start <= 0, "> 0")
    reject("dampening", dampening, not 0 <= dampening < 1, "in [0, 1)")
    dampening = dampening if momentum else 0.0
    alpha = lrs / (start + np.cumsum(lrs))
    gamma = np.full_like(alpha, 1 - momentum)
    gamma[:1] /= 1 - dampening
    return FilterMap(alpha, gamma, np.ones_like(alpha), (1 - momentum) / (1 - dampening) / start, 0.0)


def filter_at_held_rate(lrs: npt.ArrayLike, alpha: float, gamma: float) -> FilterMap:
    """Learning-rate decay with λ_t = α/ε_t, so that α stays: not a plain average, keep_t = ε_{t−1}/ε_t.

    I_t = ρ_t(1−α)I_{t−1} + αM_t with ρ_t = λ_t/λ_{t−1}; I = −λ_t w, I_0 = −λ_1 w_0. Averaged momentum with rate γ; of a
    heavy ball I is γ times that.
    """
    lrs = floats(lrs)[0]
    keep = np.concatenate([[1.0], lrs[:-1] / lrs[1:]])
    return FilterMap(np.full_like(lrs, alpha), np.full_like(lrs, gamma), keep, alpha / float(lrs[0]), 0.0)


def state_space_of_sgd(
    lrs: npt.ArrayLike, weight_decay: float, momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False
) -> StateSpaceMap:
    """torch's SGD with any momentum, dampening and schedule, without a magnitude: rate_t = ε_tλ, I = −λw.

    Without a momentum torch knows no dampening.
    """
    return StateSpaceMap(
        floats(lrs)[0] * weight_decay, momentum, dampening if momentum else 0.0, nesterov, weight_decay
    )


def _roots(total: npt.ArrayLike, product: npt.ArrayLike) -> Rates:
    """Roots of x² − total·x + product, the smaller one first and without cancellation."""
    total, product = floats(total, product)
    discriminant = total**2 - 4 * product
    with np.errstate(invalid="ignore", divide="ignore"):
        gamma = (total + np.sqrt(discriminant)) / 2
        return Rates(product / gamma, gamma)
