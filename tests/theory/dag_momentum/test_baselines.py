"""Heavy ball, Polyak and Nesterov against their iterations."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.dag_momentum.baselines import (
    heavy_ball_average_bound,
    heavy_ball_step_limit,
    lyapunov_decrease,
    lyapunov_function,
    nesterov_bound,
    polyak_settings,
)


def heavy_ball(gradient, w, eta, beta, num_steps):
    path, previous = [w], np.zeros_like(w)
    for _ in range(num_steps):
        previous = -eta * gradient(w) + beta * previous
        w = w + previous
        path.append(w)
    return np.array(path)


def test_the_lyapunov_function_falls_where_the_loss_rises():
    """A non-convex loss, Σ 1 − cos w_i + w_i²/20, curvature at most 1.1, β = 0.95."""

    def loss(w):
        return (1 - np.cos(w) + w**2 / 20).sum(-1)

    beta, L = 0.95, 1.1
    eta = 0.9 * heavy_ball_step_limit(L, beta)
    path = heavy_ball(lambda w: np.sin(w) + w / 10, np.array([2.5, -4.0, 0.3]), eta, beta, 400)
    d = np.linalg.norm(np.diff(path, axis=0), axis=1)
    E = loss(path)
    V = lyapunov_function(E, np.concatenate([[0.0], d]), eta, beta)
    assert (np.diff(E) > 0).sum() > 10
    assert (np.diff(V) <= -lyapunov_decrease(eta, L, beta) * d**2 + 1e-14).all()
    assert lyapunov_decrease(1.01 * heavy_ball_step_limit(L, beta), L, beta) < 0


def test_the_lyapunov_decrease_is_attained(assert_bound):
    """On L/2 w² the Young inequality is an equality for equal steps: Δ⁺ = Δ, so 0 = −ηLw − (1 − β)Δ."""
    L, eta, beta, d = 2.0, 0.1, 0.6, 1.0
    w = -(1 - beta) * d / (eta * L)
    drop = lyapunov_function(L / 2 * w**2, d, eta, beta) - lyapunov_function(L / 2 * (w + d) ** 2, d, eta, beta)
    assert_bound(float(drop), float(lyapunov_decrease(eta, L, beta) * d**2), 1.0, sense="lower", rel=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_the_average_of_heavy_ball_on_convex_functions(beta, share):
    eta = share * heavy_ball_step_limit(1.0, beta)

    def huber(w, width=0.05):
        return np.where(np.abs(w) < width, w**2 / 2, width * (np.abs(w) - width / 2)).sum(-1)

    quadratic = np.array([1.0, 0.1, 0.001])
    losses = [
        (lambda w: (quadratic * w**2).sum(-1) / 2, lambda w: quadratic * w),
        (huber, lambda w: np.clip(w, -0.05, 0.05)),
    ]
    for loss, gradient in losses:
        path = heavy_ball(gradient, np.ones(3), eta, beta, 200)
        for T in (1, 20, 199):
            average = path[: T + 1].mean(0)
            assert loss(average) <= heavy_ball_average_bound(np.sqrt(3), T, eta, 1.0, beta) * (1 + 1e-12)


def test_the_average_bound_is_attained_without_momentum(assert_bound):
    """T = 0, η = 1/L, f = L/2 w²: f(w_0) = L/2 w_0²."""
    assert_bound(1.0, float(heavy_ball_average_bound(1.0, 0, 0.5, 2.0, 0.0)), 1.0)
    assert np.isnan(heavy_ball_average_bound(1.0, 5, 2.1, 1.0, 0.0))


def test_polyak_is_the_best_heavy_ball_and_has_its_rate():
    eigenvalues = np.array([1.0, 1e-1, 1e-2, 1e-3])

    def steps(eta, beta):
        w, previous, k = np.ones(4), np.zeros(4), 0
        target = 1e-5 * np.linalg.norm(w)
        while np.linalg.norm(w) > target and k < 20000:
            previous = -eta * eigenvalues * w + beta * previous
            w, k = w + previous, k + 1
        return k

    eta, beta, rate = (float(x) for x in polyak_settings(1.0, 1e-3))
    best = steps(eta, beta)
    assert best < 0.05 * steps(1.0, 0.0)
    assert best == pytest.approx(np.log(1e-5) / np.log(rate), rel=0.6)  # a Jordan block adds a factor k
    companion = [np.roots([1, -(1 + beta - eta * x), beta]) for x in np.geomspace(1e-3, 1, 200)]
    assert np.abs(companion).max() == pytest.approx(rate, rel=1e-6)
    for other in (0.95 * beta, min(1.02 * beta, 0.999)):
        radius = max(np.abs(np.roots([1, -(1 + other - eta * x), other])).max() for x in np.geomspace(1e-3, 1, 200))
        assert radius > rate


def test_nesterov_on_a_convex_quadratic():
    eigenvalues, w0 = np.geomspace(1e-4, 1, 20), np.ones(20)
    w = y = w0
    for k in range(1, 300):
        new = y - eigenvalues * y
        y = new + (k - 1) / (k + 2) * (new - w)
        w = new
        assert (eigenvalues * w**2).sum() / 2 <= nesterov_bound(np.sqrt(20), k, 1.0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: heavy_ball_step_limit(0.0, 0.5), "curvature"),
        (lambda: heavy_ball_step_limit(1.0, 1.0), "momentum"),
        (lambda: lyapunov_function(1.0, 1.0, 0.0, 0.5), "lr"),
        (lambda: lyapunov_decrease(0.0, 1.0, 0.5), "lr"),
        (lambda: polyak_settings(1.0, 2.0), "strong_convexity"),
    ],
)
def test_arguments_without_meaning_are_rejected(call, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*; allowed: "):
        call()
