"""GAM's closed forms on a quadratic, against its algorithms run step by step on a gradient that is a black box."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.gam.directions import (
    accelerated_direction,
    accelerated_gradients,
    ascent_flatness,
    effective_alpha,
    gam_direction,
    gam_norm_gradient,
    gam_shrinkage,
    released_weights,
    two_cycle_amplitude,
)
from boundcheck.theory.gam.quadratic import first_order_flatness

XI = 1e-12


def length(v):
    return np.sqrt(v @ v)


@pytest.fixture
def problem(rng):
    """(H, θ) of the quadratic ½ θᵀHθ in six dimensions."""
    root = rng.normal(size=(6, 6))
    return root @ root.T / 6, rng.normal(size=6)


def algorithm_2(gradient, theta, rho, rho_prime, alpha, minus):
    """Accelerated GAM as printed, but for h₋ = minus(g₀, g₂): (h₊, component of h₋ orthogonal to h₊, all gradients)."""
    g0 = gradient(theta)
    g1 = gradient(theta + rho_prime * g0 / (length(g0) + XI))
    h0 = g1 - g0
    theta2 = theta + rho * h0 / (length(h0) + XI)
    g2 = gradient(theta2)
    g3 = gradient(theta2 + rho_prime * g2 / (length(g2) + XI))
    plus = alpha * g1 + (1 - alpha) * g3
    h = minus(g0, g2)
    return plus, h - (h @ plus) / (plus @ plus) * plus, (g0, g1, g2, g3)


def test_direction_agrees_with_algorithm_1_by_hessian_vector_products_of_autograd(problem):
    import torch

    hessian, theta, (rho, alpha) = torch.tensor(problem[0]), torch.tensor(problem[1]), (0.3, 0.7)

    def gradient_and_its_norms(x):
        x = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(x @ hessian @ x / 2, x, create_graph=True)
        (f,) = torch.autograd.grad(g.norm(), x)
        return g.detach(), f

    g, f = gradient_and_its_norms(theta)
    _, norm_gradient = gradient_and_its_norms(theta + rho * f / f.norm())
    expected = (g + alpha * rho * norm_gradient).numpy()
    np.testing.assert_allclose(gam_direction(problem[0], g.numpy(), rho, alpha), expected, rtol=1e-12)


def test_direction_shrinks_every_eigen_coordinate(rng):
    eigenvalues, x = np.array([3.0, 1.0, 0.2, 0.0]), rng.normal(size=4)
    direction = gam_direction(np.diag(eigenvalues), eigenvalues * x, 0.3, 0.7)
    shrinkage = gam_shrinkage(eigenvalues, x, 0.3, 0.7)
    np.testing.assert_allclose(shrinkage * x, direction, rtol=1e-13)
    assert np.all(shrinkage[:3] > eigenvalues[:3])


def test_one_dimension_is_gradient_descent_on_an_added_absolute_value():
    for x in (-0.8, 0.1):
        direction = gam_direction([[2.0]], [2.0 * x], 0.3, 0.7)
        assert direction[0] == pytest.approx(2 * x + 0.7 * 0.3 * 2 * np.sign(x), rel=1e-14)


def test_minimum_is_a_fixed_point_though_the_penalty_gradient_does_not_vanish_near_it(problem):
    hessian, theta = problem
    np.testing.assert_array_equal(gam_direction(hessian, np.zeros(6), 0.3, 0.7), 0.0)
    near = gam_norm_gradient(hessian, 1e-9 * hessian @ theta, 0.3)
    assert np.linalg.norm(near) > 0.3 * np.linalg.eigvalsh(hessian)[0]


@pytest.mark.parametrize("lr", [0.05, 0.3, 0.45, 0.7])
def test_one_dimensional_iterates_end_in_the_two_cycle(lr):
    x, seen = 1.7, []
    for _ in range(1000):
        x = x - lr * gam_direction([[2.5]], [2.5 * x], 0.2, 0.5)[0]
        seen.append(x)
    amplitude = two_cycle_amplitude(lr, 0.5, 0.2, 2.5)
    assert sorted(seen[-2:]) == pytest.approx([-amplitude, amplitude], rel=1e-10)


def test_iterates_end_in_the_two_cycle_along_the_top_eigenvector():
    eigenvalues, x = np.array([2.0, 1.0, 0.3]), np.array([0.3, -1.0, 2.0])
    for _ in range(4000):
        x = x - 0.1 * gam_shrinkage(eigenvalues, x, 0.2, 0.5) * x
    amplitude = two_cycle_amplitude(0.1, 0.5, 0.2, 2.0)
    np.testing.assert_allclose(np.abs(x), [amplitude, 0, 0], rtol=1e-10, atol=1e-12)


def test_two_cycle_needs_a_stable_step():
    with pytest.raises(ValueError, match=r"lr \* sharpness: got 2; allowed: between 0 and 2"):
        two_cycle_amplitude(1.0, 0.5, 0.2, 2.0)


@pytest.mark.parametrize("rho_prime", [1e-3, 0.02, 1.0, 10.0])
def test_accelerated_differences_are_the_exact_penalty_gradient(problem, rho_prime):
    hessian, theta = problem
    rho, exact = 0.3, gam_norm_gradient(hessian, hessian @ theta, 0.3)
    *_, gradients = algorithm_2(lambda x: hessian @ x, theta, rho, rho_prime, 0.6, lambda g0, g2: g0)
    np.testing.assert_allclose((gradients[3] - gradients[2]) * rho / rho_prime, exact, rtol=1e-9)
    for closed, run in zip(accelerated_gradients(hessian, hessian @ theta, rho, rho_prime), gradients, strict=True):
        np.testing.assert_allclose(closed, run, rtol=1e-9)


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [(0.6, 0.5, 0.03), (0.1, 0.1, 0.5), (1.0, 1.0, 0.2)])
def test_accelerated_direction_agrees_with_algorithm_2(problem, alpha, beta, gamma):
    hessian, theta = problem
    plus, perpendicular, _ = algorithm_2(
        lambda x: hessian @ x, theta, 0.3, 0.2, alpha, lambda g0, g2: beta * g0 + (1 - beta) * g2
    )
    direction = accelerated_direction(hessian, hessian @ theta, 0.3, 0.2, alpha, beta, gamma)
    np.testing.assert_allclose(direction, plus - gamma * perpendicular, rtol=1e-10)


def test_accelerated_direction_is_its_expansion_in_the_radii(problem):
    hessian, theta = problem
    rho, rho_prime, alpha, beta, gamma = 0.3, 0.2, 0.6, 0.5, 0.1
    g = hessian @ theta
    curved = hessian @ g / length(g)
    pull = rho * hessian @ curved / length(curved)
    curved2 = hessian @ (g + pull) / length(g + pull)
    plus = g + (1 - alpha) * pull + rho_prime * (alpha * curved + (1 - alpha) * curved2)
    minus = g + (1 - beta) * pull
    expected = plus - gamma * (minus - (minus @ plus) / (plus @ plus) * plus)
    np.testing.assert_allclose(
        accelerated_direction(hessian, g, rho, rho_prime, alpha, beta, gamma), expected, rtol=1e-12
    )


def test_released_weights_translate_the_code_into_the_printed_algorithm(problem):
    """On a loss that is not quadratic, too: L(θ) = ½ θᵀHθ + Σ cos θᵢ."""
    hessian, theta = problem
    for beta, gamma in ((0.5, 0.03), (0.1, 0.05), (1.4, 0.2)):
        beta_eff, gamma_eff = released_weights(beta, gamma)
        arguments = (lambda x: hessian @ x - np.sin(x), theta, 0.3, 0.2, 0.6)
        plus, code, _ = algorithm_2(*arguments, lambda g0, g2, b=beta: g0 + abs(1 - b) * g2)
        _, printed, _ = algorithm_2(*arguments, lambda g0, g2, b=beta_eff: b * g0 + (1 - b) * g2)
        np.testing.assert_allclose(plus - gamma_eff * printed, plus - gamma * code, rtol=1e-10)


def test_released_defaults_are_translated():
    beta, gamma = released_weights([0.5, 0.3, 0.1], 1.0)
    np.testing.assert_allclose(beta, [0.6667, 0.5882, 0.5263], atol=5e-5)
    np.testing.assert_allclose(gamma, [1.5, 1.7, 1.9])


def test_effective_alpha_of_the_released_settings_is_small():
    alpha = effective_alpha([0.6, 0.5, 0.1], 0.2, [0.02, 0.04, 0.03])
    np.testing.assert_allclose(alpha, [0.04, 0.10, 0.135], rtol=1e-12)
    with pytest.raises(ValueError, match=r"rho: got 0; allowed: > 0"):
        effective_alpha(0.6, 0.0, 0.02)


def test_effective_alpha_is_the_weight_of_the_penalty_gradient(problem):
    hessian, theta = problem
    g, rho, rho_prime, alpha = hessian @ theta, 0.3, 0.2, 0.6
    parts = accelerated_gradients(hessian, g, rho, rho_prime)
    rest = alpha * parts.near + (1 - alpha) * parts.ascended
    expected = rest + effective_alpha(alpha, rho, rho_prime) * gam_norm_gradient(hessian, g, rho)
    np.testing.assert_allclose(accelerated_direction(hessian, g, rho, rho_prime, alpha, 1.0, 0.0), expected, rtol=1e-12)


def test_ascent_rises_to_the_flatness(problem, assert_bound):
    hessian, theta = problem
    g, rho = hessian @ theta, 0.3
    path = [ascent_flatness(hessian, g, rho, k) for k in (0, 1, 2, 5, 20, 400)]
    full = first_order_flatness(hessian, g, rho).flatness
    assert path[0] == pytest.approx(rho * length(g), rel=1e-14)
    assert np.all(np.diff(path) >= -1e-15)
    assert path[-1] == pytest.approx(full, rel=1e-10)
    assert_bound(path[1], full, tightness=full / path[1])
    adversarial = g + rho * hessian @ (hessian @ g) / length(hessian @ g)  # ∇L(θ_adv)
    assert path[1] == pytest.approx(rho * length(adversarial), rel=1e-12)


def test_one_step_of_ascent_is_exact_along_the_top_eigenvector_and_blind_across_it(assert_bound):
    hessian, rho = np.diag([10.0, 1.0]), 0.5
    along = np.array([0.2, 0.0])
    assert_bound(ascent_flatness(hessian, along, rho), first_order_flatness(hessian, along, rho).flatness, 1.0)
    across = np.array([0.0, 0.2])  # one step: ρ(0.2 + ρ); all: ρ√(g² + g²/99 + 100 ρ²)
    full = first_order_flatness(hessian, across, rho).flatness
    tightness = np.sqrt(0.04 + 0.04 / 99 + 25) / 0.7
    assert_bound(ascent_flatness(hessian, across, rho), full, tightness)


def test_ascent_rejects_a_negative_number_of_steps(problem):
    with pytest.raises(ValueError, match=r"num_steps: got -1; allowed: >= 0"):
        ascent_flatness(problem[0], problem[1], 0.3, -1)


def test_leading_axes_are_problems_treated_at_once(rng):
    root = rng.normal(size=(4, 3, 3))
    hessian, g, rho = root @ np.swapaxes(root, 1, 2), rng.normal(size=(4, 3)), np.array([0.1, 0.2, 0.3, 0.4])
    together = accelerated_direction(hessian, g, rho, 0.1, 0.6, 0.5, 0.2)
    alone = accelerated_direction(hessian[2], g[2], 0.3, 0.1, 0.6, 0.5, 0.2)
    np.testing.assert_allclose(together[2], alone, rtol=1e-13)
    assert gam_direction(hessian, g, rho, 0.5).shape == (4, 3)
    assert ascent_flatness(hessian, g, rho).shape == (4,)
