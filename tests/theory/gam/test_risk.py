"""The PAC-Bayes bound: its terms by hand, its tail event exactly, and the bound where the risk is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from boundcheck.theory.gam.risk import pac_bayes_bound, perturbation_scale, tail_probability_bound


@pytest.mark.parametrize("num_parameters", [1, 10, 1000])
@pytest.mark.parametrize("num_samples", [1, 100, 50_000])
def test_noise_leaves_the_ball_no_more_often_than_stated(num_parameters, num_samples):
    rho = 0.2
    sigma = perturbation_scale(rho, num_parameters, num_samples)
    probability = stats.chi2.sf((rho / sigma) ** 2, num_parameters)  # of ‖ε‖ > ρ
    assert probability <= tail_probability_bound(num_samples)


def test_tail_bound_has_a_known_tightness(assert_bound):
    sigma = perturbation_scale(0.2, 1, 100)
    probability = stats.chi2.sf((0.2 / sigma) ** 2, 1)  # = 2 (1 − Φ(1 + √log 100)) = 0.00166
    assert_bound(probability, tail_probability_bound(100), tightness=(59, 61))


def test_wider_noise_would_leave_the_ball_too_often():
    sigma = 0.2 / np.sqrt(1000)  # without the √log n
    assert stats.chi2.sf((0.2 / sigma) ** 2, 1000) > tail_probability_bound(100)


def test_terms_agree_with_the_formula_written_out():
    n, d, rho, delta, norm, M = 1000, 7, 0.3, 0.1, 2.5, 4.0
    bound = pac_bayes_bound(0.4, 0.05, norm, num_parameters=d, num_samples=n, rho=rho, delta=delta, loss_bound=M)
    spread = (np.sqrt(d) + np.sqrt(np.log(n))) ** 2
    inside = d / 4 * np.log(1 + norm**2 * spread / (d * rho**2)) + 1 / 4 + np.log(n / delta) + 2 * np.log(6 * n + 3 * d)
    assert (bound.empirical_loss, bound.first_order_flatness, bound.loss_bound) == (0.4, 0.05, M)
    assert bound.tail == pytest.approx(M / np.sqrt(n), rel=1e-14)
    assert bound.complexity == pytest.approx(M * np.sqrt(inside / (n - 1)), rel=1e-12)
    assert bound.total == pytest.approx(0.45 + bound.tail + bound.complexity, rel=1e-14)
    assert not bound.is_vacuous


def test_bound_scales_with_the_unit_of_the_loss():
    numbers = {"num_parameters": 3, "num_samples": 100, "rho": 0.1}
    one = pac_bayes_bound(0.3, 0.1, 1.0, **numbers)
    four = pac_bayes_bound(1.2, 0.4, 1.0, loss_bound=4.0, **numbers)
    assert four.total == pytest.approx(4 * one.total, rel=1e-14)


def test_bound_is_vacuous_for_a_network_and_not_for_a_few_parameters():
    network = pac_bayes_bound(0.0, 0.0, 30.0, num_parameters=11.22e6, num_samples=5e4, rho=0.2)
    assert network.complexity == pytest.approx(23.7, abs=0.05)
    assert network.is_vacuous
    few = pac_bayes_bound(0.0, 0.0, 3.0, num_parameters=10, num_samples=1e6, rho=0.2)
    assert few.complexity < 0.01
    assert not few.is_vacuous


def test_bound_holds_where_the_risk_is_known(rng, assert_bound):
    """ℓ(θ, z) = 1 − exp(−‖θ−z‖²/2) in two dimensions with z ~ N(0, I): the noisy risk has a closed form."""
    n, rho, theta = 2000, 0.5, np.array([0.9, -0.4])
    sigma = perturbation_scale(rho, 2, n)
    variance = 1 + sigma**2  # of each coordinate of θ + ε − z
    risk = 1 - np.exp(-(theta @ theta) / (2 * (1 + variance))) / (1 + variance)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ball = theta + rho * np.linspace(0, 1, 6)[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    bounds = []
    for _ in range(8):
        z = rng.normal(size=(n, 2))
        kernel = np.exp(-((ball[..., None, :] - z) ** 2).sum(-1) / 2)  # (6, 24, n)
        slopes = (kernel[..., None] * (ball[..., None, :] - z)).mean(-2)
        first = rho * np.linalg.norm(slopes, axis=-1).max()
        terms = pac_bayes_bound(
            1 - kernel[0, 0].mean(), first, np.linalg.norm(theta), num_parameters=2, num_samples=n, rho=rho
        )
        bounds.append(terms.total)
    assert_bound(risk, min(bounds), tightness=(1.3, 1.7))


def test_numbers_out_of_range_are_rejected():
    numbers = {"num_parameters": 3, "num_samples": 100, "rho": 0.1}
    for name, value, allowed in (
        ("num_parameters", 0, ">= 1"),
        ("num_samples", 1, ">= 2"),
        ("rho", 0, "> 0"),
        ("delta", 1, "between 0 and 1"),
        ("delta", 0, "between 0 and 1"),
        ("loss_bound", 0, "> 0"),
    ):
        with pytest.raises(ValueError, match=f"{name}: got {value}; allowed: {allowed}"):
            pac_bayes_bound(0.1, 0.1, 1.0, **{**numbers, name: value})
    with pytest.raises(ValueError, match="num_samples: got 0"):
        tail_probability_bound(0)
