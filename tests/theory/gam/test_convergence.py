"""The convergence bounds, on a stochastic quadratic whose smoothness and gradient noise are known."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.gam.convergence import (
    ZETA_2,
    ZETA_3_2,
    constant_radius_convergence_bound,
    convergence_bound,
    convergence_floor,
)

EIGENVALUES = np.array([2.0, 1.0, 0.5, 0.2, 0.05])
SETTINGS = {"lr": 1 / 8, "alpha": 0.5, "rho": 0.4, "gradient_lipschitz": 2.0, "gradient_noise": 0.3}


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def simulate(
    rng, num_steps, *, lr, alpha, rho, gradient_noise, decay=0.5, eigenvalues=EIGENVALUES, start=1.0, num_runs=100, **_
):
    """GAM on ½ xᵀAx with mini-batches ½ xᵀAx + ξᵀx: the initial gap, and the mean E‖∇F‖² over t ≤ T for every T."""
    x = np.full((num_runs, len(eigenvalues)), start)
    gap, squares = (eigenvalues * x[0] ** 2).sum() / 2, np.empty(num_steps)
    for t in range(1, num_steps + 1):
        eta, radius = lr / np.sqrt(t), rho * t**-decay
        squares[t - 1] = ((eigenvalues * x) ** 2).sum(-1).mean()
        noise = gradient_noise / np.sqrt(x.shape[-1]) * rng.normal(size=x.shape)
        gradient = eigenvalues * x + noise
        if alpha:
            ascended = eigenvalues * (x + radius * unit(eigenvalues * gradient)) + noise
            gradient = gradient + alpha * radius * eigenvalues * unit(ascended)
        x = x - eta * gradient
    return gap, np.cumsum(squares) / np.arange(1, num_steps + 1)


def test_bound_holds_along_a_stochastic_quadratic(rng, assert_bound):
    gap, measured = simulate(rng, 3000, **SETTINGS)
    bound = convergence_bound(np.arange(1, 3001), initial_gap=gap, **SETTINGS)
    assert np.all(measured <= bound)
    for T, tightness in ((100, (8, 12)), (1000, (20, 35)), (3000, (30, 60))):
        assert_bound(measured[T - 1], bound[T - 1], tightness)


def test_constant_radius_bound_holds_along_a_stochastic_quadratic(rng, assert_bound):
    gap, measured = simulate(rng, 3000, decay=0.0, **SETTINGS)
    bound = constant_radius_convergence_bound(np.arange(1, 3001), initial_gap=gap, **SETTINGS)
    assert np.all(measured <= bound)
    assert_bound(measured[-1], bound[-1], tightness=(80, 120))
    assert measured[-1] <= convergence_floor(0.5, 0.4, 2.0)


def test_bound_is_as_tight_as_a_slow_descent_allows(rng, assert_bound):
    """Gradient flow with λη₀√T = c: the bound exceeds the mean by 8c/(1 − (1+4c) exp(−4c)), 6.70 at c = 0.45."""
    T, c, lr = 10_000, 0.45, 0.01
    curvature = c / (lr * np.sqrt(T))
    settings = {"lr": lr, "alpha": 0.0, "rho": 0.0, "gradient_lipschitz": curvature, "gradient_noise": 0.0}
    gap, measured = simulate(rng, T, eigenvalues=np.array([curvature]), num_runs=1, **settings)
    tightness = 8 * c / (1 - (1 + 4 * c) * np.exp(-4 * c))
    assert_bound(measured[-1], convergence_bound(T, initial_gap=gap, **settings), tightness, rel=0.02)


def test_bound_is_as_tight_as_noise_at_the_minimum_allows(rng, assert_bound):
    """E‖∇F‖² = γ₁η_tσ²/2 for noise that has settled, so the bound exceeds the mean by 2(1 + log T)."""
    T, settings = 1000, {"lr": 0.25, "alpha": 0.0, "rho": 0.0, "gradient_lipschitz": 1.0, "gradient_noise": 0.5}
    _, measured = simulate(rng, T, eigenvalues=np.ones(5), start=0.0, num_runs=400, **settings)
    assert_bound(measured[-1], convergence_bound(T, initial_gap=0.0, **settings), 2 * (1 + np.log(T)), rel=0.1)


def test_bound_fails_where_its_premise_does(rng):
    """More noise than stated: the gradient stays above the bound."""
    settings = {**SETTINGS, "alpha": 0.0, "gradient_noise": 30.0}
    gap, measured = simulate(rng, 3000, **settings)
    stated = {**settings, "gradient_noise": 0.3}
    assert measured[-1] > convergence_bound(3000, initial_gap=gap, **stated)
    assert measured[-1] <= convergence_bound(3000, initial_gap=gap, **settings)


@pytest.mark.parametrize(("gap", "alpha", "noise"), [(1.5, 0.5, 0.3), (0.0, 0.5, 0.0), (0.0, 0.0, 0.3)])
def test_bounds_are_what_the_descent_inequality_sums_to(gap, alpha, noise):
    """Sum the inequality of one step numerically; the closed form may exceed it only by its bounds on the sums."""
    T = 2000
    t = np.arange(1, T + 1)
    settings = {**SETTINGS, "alpha": alpha, "gradient_noise": noise}
    lr, rho, smooth = settings["lr"], settings["rho"], settings["gradient_lipschitz"]

    def summed(radius):
        steps = lr / np.sqrt(t)
        penalty = (alpha * radius * smooth) ** 2
        per_step = steps * penalty + smooth * steps**2 * (noise**2 + penalty)
        return 2 / (lr * np.sqrt(T)) * (gap + per_step.sum())

    decaying = convergence_bound(T, initial_gap=gap, **settings)
    assert summed(rho / np.sqrt(t)) <= decaying <= 1.06 * summed(rho / np.sqrt(t))
    constant = constant_radius_convergence_bound(T, initial_gap=gap, **settings)
    assert summed(rho + 0 * t) <= constant <= 1.06 * summed(rho + 0 * t)


def test_constants_are_the_sums_of_their_series():
    t = np.arange(1.0, 1e6)
    assert pytest.approx((t**-1.5).sum() + 2 / np.sqrt(1e6 - 0.5), rel=1e-12) == ZETA_3_2
    assert pytest.approx((t**-2).sum() + 1 / (1e6 - 0.5), rel=1e-12) == ZETA_2


def test_bound_without_penalty_and_noise_is_that_of_gradient_descent():
    bound = convergence_bound(
        100, initial_gap=3.0, lr=0.1, alpha=0.0, rho=0.5, gradient_lipschitz=2.0, gradient_noise=0.0
    )
    assert bound == pytest.approx(2 * 3.0 / (0.1 * 10), rel=1e-14)


def test_decaying_radius_reaches_zero_and_a_constant_one_its_floor():
    floor = convergence_floor(0.5, 0.4, 2.0)
    assert floor == pytest.approx(4 * (0.5 * 0.4 * 2.0) ** 2)
    assert convergence_bound(1e16, initial_gap=1.0, **SETTINGS) < 1e-5
    far = constant_radius_convergence_bound(1e16, initial_gap=1.0, **SETTINGS)
    assert far == pytest.approx(floor, rel=1e-4)
    assert far > floor


@pytest.mark.parametrize("bound", [convergence_bound, constant_radius_convergence_bound])
def test_numbers_out_of_range_are_rejected(bound):
    with pytest.raises(ValueError, match=r"num_steps: got 0; allowed: >= 1"):
        bound(0, initial_gap=1.0, **SETTINGS)
    with pytest.raises(ValueError, match=r"lr: got 0\.126; allowed: > 0, at most"):
        bound(10, initial_gap=1.0, **{**SETTINGS, "lr": 0.126})
    with pytest.raises(ValueError, match=r"lr: got 0; allowed: > 0, at most"):
        bound(10, initial_gap=1.0, **{**SETTINGS, "lr": 0.0})
