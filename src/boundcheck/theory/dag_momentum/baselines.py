"""What is known of the methods that adaptive momentum is compared with: heavy ball, Polyak's choice, Nesterov.

Heavy ball: Δw^{k+1} = −η g_k + β Δw^k with a constant β. Numbers and arrays broadcast. Only the Lyapunov function says
something of networks, and only it is checked on runs; the rates are for convex functions and quadratics, on which they
are tested.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


class HeavyBallSettings(NamedTuple):
    """Step size η, momentum β, and the factor per step that they give."""

    lr: FloatArray
    momentum: FloatArray
    rate: FloatArray


def heavy_ball_step_limit(curvature: npt.ArrayLike, momentum: npt.ArrayLike) -> FloatArray:
    """2 (1 − β)/L: below it `lyapunov_function` decreases along heavy ball, convex or not."""
    L, beta = _checked(curvature, momentum)
    return 2 * (1 - beta) / L


def lyapunov_function(
    loss: npt.ArrayLike, update_norm: npt.ArrayLike, lr: npt.ArrayLike, momentum: npt.ArrayLike
) -> FloatArray:
    """V_k = E(w^k) + (β/(2η)) ‖Δw^k‖², which falls along heavy ball where E itself may rise."""
    E, d, eta, beta = floats(loss, update_norm, lr, momentum)
    reject("lr", eta, eta <= 0, "lr > 0")
    return E + beta / (2 * eta) * d**2


def lyapunov_decrease(lr: npt.ArrayLike, curvature: npt.ArrayLike, momentum: npt.ArrayLike) -> FloatArray:
    """c_V of V_{k+1} ≤ V_k − c_V ‖Δw^{k+1}‖²: (1 − β)/η − L/2, positive exactly below `heavy_ball_step_limit`.

    Proof: g = (βΔ − Δ⁺)/η, so ⟨g, Δ⁺⟩ = (β⟨Δ, Δ⁺⟩ − ‖Δ⁺‖²)/η ≤ (β/(2η))(‖Δ‖² + ‖Δ⁺‖²) − ‖Δ⁺‖²/η; Taylor.
    """
    L, beta = _checked(curvature, momentum)
    (eta,) = floats(lr)
    reject("lr", eta, eta <= 0, "lr > 0")
    return (1 - beta) / eta - L / 2


def heavy_ball_average_bound(
    distance: npt.ArrayLike,
    num_steps: npt.ArrayLike,
    lr: npt.ArrayLike,
    curvature: npt.ArrayLike,
    momentum: npt.ArrayLike,
) -> FloatArray:
    """Upper bound on f(w̄_T) − f* of the average w̄_T of the first T + 1 iterates of heavy ball, for convex f.

    Statement: ‖w_0 − w*‖²/(2(T + 1)) · (Lβ/(1 − β) + (1 − β)/η) for η ≤ (1 − β)/L, and
    ‖w_0 − w*‖² (Lβ + (1 − β)²/η)/(2(T + 1)(2(1 − β) − ηL)) up to η < 2(1 − β)/L; NaN beyond. No statement for networks.

    Args:
        distance: ‖w_0 − w*‖.
        num_steps: T.
        lr: η > 0.
        curvature: L > 0, a Lipschitz constant of ∇f.
        momentum: β in [0, 1).

    References: Ghadimi, Feyzmahdavian, Johansson 2015, Global convergence of the heavy-ball method.
    """
    L, beta = _checked(curvature, momentum)
    distance, T, eta = floats(distance, num_steps, lr)
    short = (L * beta / (1 - beta) + (1 - beta) / eta) / (2 * (T + 1))
    room = 2 * (1 - beta) - eta * L
    with np.errstate(divide="ignore", invalid="ignore"):
        long = (L * beta + (1 - beta) ** 2 / eta) / (2 * (T + 1) * room)
    return distance**2 * np.where(eta <= (1 - beta) / L, short, np.where(room > 0, long, np.nan))


def polyak_settings(curvature: npt.ArrayLike, strong_convexity: npt.ArrayLike) -> HeavyBallSettings:
    """The best heavy ball on quadratics with curvatures in [μ, L].

    Statement: η = 4/(√L + √μ)², β = ((√L − √μ)/(√L + √μ))², with the rate (√κ − 1)/(√κ + 1), κ = L/μ.

    Raises:
        ValueError: not 0 < μ ≤ L.

    References: Polyak 1964, Some methods of speeding up the convergence of iteration methods.
    """
    L, mu = floats(curvature, strong_convexity)
    reject("strong_convexity", mu, (mu <= 0) | (mu > L), "0 < strong_convexity <= curvature")
    total = np.sqrt(L) + np.sqrt(mu)
    rate = (np.sqrt(L) - np.sqrt(mu)) / total
    return HeavyBallSettings(4 / total**2, rate**2, rate)


def nesterov_bound(distance: npt.ArrayLike, num_steps: npt.ArrayLike, curvature: npt.ArrayLike) -> FloatArray:
    """Upper bound 2L ‖w_0 − w*‖²/(k + 1)² on f(w_k) − f* of Nesterov's method at η = 1/L, for convex f only.

    References: Nesterov 1983, A method of solving a convex programming problem with convergence rate O(1/k²).
    """
    distance, k, L = floats(distance, num_steps, curvature)
    return 2 * L * distance**2 / (k + 1) ** 2


def _checked(curvature: npt.ArrayLike, momentum: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    L, beta = floats(curvature, momentum)
    reject("curvature", L, L <= 0, "curvature > 0")
    reject("momentum", beta, (beta < 0) | (beta >= 1), "0 <= momentum < 1")
    return L, beta
