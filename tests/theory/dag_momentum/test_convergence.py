"""The long run of adaptive momentum, on quadratics and on a loss whose KL exponent is known."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.dag_momentum.convergence import (
    effective_step,
    gradient_sum_bound,
    kl_rate_exponent,
    least_gradient_bound,
    linear_rate,
    local_rate,
    path_length_bound,
    stability_plateau,
    weight_bound,
)
from boundcheck.theory.dag_momentum.step import decrease, step_limit


def descend(gradient, w, eta, s, num_steps):
    """Iterates w^0 … w^K (K + 1, p) of adaptive momentum."""
    path, previous = [w], np.zeros_like(w)
    for _ in range(num_steps):
        g, length = gradient(w), np.linalg.norm(previous)
        tau = s * eta * np.linalg.norm(g) / length if length else 0.0
        previous = -eta * g + tau * previous
        w = w + previous
        path.append(w)
    return np.array(path)


EIGENVALUES = np.array([4.0, 1.0, 0.3, 0.05])


@pytest.mark.parametrize("share", [0.4, 0.95])
@pytest.mark.parametrize("s", [0.0, 0.5, 0.9])
def test_sums_and_minima_of_the_gradient(s, share):
    eta = share * step_limit(4.0, s)
    path = descend(lambda w: EIGENVALUES * w, np.ones(4), eta, s, 300)
    E, g2 = (EIGENVALUES * path**2).sum(1) / 2, ((EIGENVALUES * path) ** 2).sum(1)
    c = decrease(eta, 4.0, s)
    for K in (1, 10, 300):
        assert g2[:K].sum() <= gradient_sum_bound(E[0] - E[K], c) * (1 + 1e-12)
        assert g2[:K].min() <= least_gradient_bound(E[0] - E[K], c, K) * (1 + 1e-12)
    assert (np.diff(E) <= 0).all()
    factor = linear_rate(0.05, c)
    assert (E[1:] <= factor * E[:-1] * (1 + 1e-12)).all()


def test_the_sum_bound_is_attained(assert_bound):
    """Gradient descent on L·1 with η ≥ 1/L: every step gives exactly c‖g‖²."""
    L, eta = 2.0, 0.7
    path = descend(lambda w: L * w, np.array([1.0]), eta, 0.0, 5)[:, 0]
    E, g2 = L / 2 * path**2, (L * path) ** 2
    bound = gradient_sum_bound(E[0] - E[-1], decrease(eta, L, 0.0))
    assert_bound(float(g2[:5].sum()), float(bound), 1.0)
    one = least_gradient_bound(E[0] - E[1], decrease(eta, L, 0.0), 1)
    assert_bound(float(g2[0]), float(one), 1.0)
    assert_bound(float(E[1] / E[0]), float(linear_rate(L, decrease(eta, L, 0.0))), 1.0)


@pytest.mark.parametrize("s", [0.0, 0.6])
def test_the_path_of_a_quartic_is_finite(s, assert_bound):
    """E = w⁴/4 has θ = 3/4: E^(3/4) = 4^(−3/4)|w|³, so C = 4^(−3/4); curvature at most 3 on [−1, 1]."""
    eta = 0.3 * step_limit(3.0, s)
    path = descend(lambda w: w**3, np.array([1.0]), eta, s, 20000)[:, 0]
    length = np.abs(np.diff(path)).sum()
    bound = path_length_bound(0.25, eta, s, decrease(eta, 3.0, s), (0.75, 4**-0.75))
    assert_bound(float(length), float(bound), (1.0, 6.0))
    gap = path**4 / 4
    exponent = -np.log(gap[20000] / gap[10000]) / np.log(2)
    assert exponent == pytest.approx(float(kl_rate_exponent(0.75)), rel=0.01)  # E = O(k⁻²)
    assert kl_rate_exponent(0.5) == np.inf


@pytest.mark.parametrize(("s", "speed_up"), [(0.5, 1.50), (0.9, 1.90)])
def test_the_method_is_1_plus_s_times_as_fast_as_gradient_descent(s, speed_up):
    """κ = 1000: the number of steps to E ≤ 10⁻¹⁰ E_0 falls by 1 + s, and no √κ is to be had."""
    eigenvalues = np.array([1.0, 1e-1, 1e-2, 1e-3])

    def steps(s):
        w, previous, k = np.ones(4), np.zeros(4), 0
        target = 1e-10 * (eigenvalues * w**2).sum()
        while (eigenvalues * w**2).sum() > target:
            g, length = eigenvalues * w, np.sqrt(previous @ previous)
            tau = s * np.sqrt(g @ g) / length if length else 0.0
            previous = -g + tau * previous
            w, k = w + previous, k + 1
        return k

    assert steps(0.0) / steps(s) == pytest.approx(speed_up, abs=0.005)
    assert effective_step(0.1, s) == pytest.approx(0.1 * speed_up)


def test_the_slowest_mode_and_a_saddle():
    s, eta = 0.5, 0.1
    for mu in (0.05, -0.05):
        start = np.array([1e-3, 0.0]) if mu < 0 else np.array([1.0, 0.1])
        path = descend(lambda w, mu=mu: np.array([mu, 2.0]) * w, start, eta, s, 200)
        assert path[-1, 0] / path[-2, 0] == pytest.approx(float(local_rate(mu, eta, s)), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_plateau_is_the_limit_of_stability_of_heavy_ball(beta):
    def final(curvature):
        w, previous = 1.0, 0.0
        for _ in range(4000):
            previous = -curvature * w + beta * previous
            w += previous
            if abs(w) > 1e6:
                break
        return abs(w)

    limit = float(stability_plateau(beta))
    assert final(0.99 * limit) < 1
    assert final(1.01 * limit) > 1e6


def test_weight_decay_bounds_the_weights(assert_bound):
    lam, w0 = 0.1, np.array([3.0, 1.0])

    def gradient(w):
        return np.array([1.0, 0.2]) * (w - np.array([5.0, -2.0])) + lam * w

    def objective(w):
        return (np.array([1.0, 0.2]) * (w - np.array([5.0, -2.0])) ** 2).sum(-1) / 2 + lam / 2 * (w**2).sum(-1)

    path = descend(gradient, w0, 0.5, 0.5, 200)
    assert np.linalg.norm(path, axis=1).max() <= weight_bound(objective(w0), lam)
    assert_bound(2.0, float(weight_bound(lam / 2 * 4.0, lam)), 1.0)  # all of E_λ is the penalty


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: gradient_sum_bound(1.0, 0.0), "decrease"),
        (lambda: least_gradient_bound(1.0, 1.0, 0), "num_steps"),
        (lambda: path_length_bound(1.0, 0.1, 0.5, 0.1, (0.4, 1.0)), "kl"),
        (lambda: kl_rate_exponent(1.0), "theta"),
        (lambda: weight_bound(1.0, 0.0), "weight_decay"),
    ],
)
def test_arguments_without_meaning_are_rejected(call, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*; allowed: "):
        call()
