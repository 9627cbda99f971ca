"""The flatness and curvature lemmas of GAM, against flatness found by looking everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcheck.theory.gam.curvature import (
    best_radius,
    first_order_flatness_at_minimum,
    flatness_curvature_bounds,
    penalised_flatness_bound,
    spectral_norm_bounds,
    zeroth_order_flatness_bound,
)


class Cubic:
    """L(x) = gᵀx + ½ xᵀHx + Σ cᵢ|xᵢ|³/6 in two dimensions: at 0, γ₂ = max|cᵢ|."""

    def __init__(self, hessian, gradient, third):
        self.hessian, self.gradient, self.third = np.array(hessian), np.array(gradient), np.array(third)

    def loss(self, x):
        return (x * (self.gradient + x @ self.hessian / 2) + self.third * np.abs(x) ** 3 / 6).sum(-1)

    def slope(self, x):
        return self.gradient + x @ self.hessian + self.third * x * np.abs(x) / 2

    def flatness(self, rho, num_angles=720, num_radii=21):
        """R⁰ and R¹ from a polar grid that contains the eigenvectors."""
        angles = np.linspace(0, 2 * np.pi, num_angles, endpoint=False)
        eigenvectors = np.linalg.eigh(self.hessian)[1].T
        circle = np.vstack([np.stack([np.cos(angles), np.sin(angles)], -1), eigenvectors, -eigenvectors])
        x = rho * np.linspace(0, 1, num_radii)[:, None, None] * circle
        return self.loss(x).max(), rho * np.linalg.norm(self.slope(x), axis=-1).max()

    def curvature_bounds(self, rho):
        return flatness_curvature_bounds(*self.numbers(), rho)

    def numbers(self):
        return np.linalg.norm(self.hessian, 2), np.linalg.norm(self.gradient), np.abs(self.third).max()


numbers = st.floats(-5, 5)
cubics = st.builds(
    lambda a, b, c, g1, g2, c1, c2: Cubic([[a, b], [b, c]], [g1, g2], [c1, c2]), *[numbers for _ in range(7)]
)


@settings(max_examples=60)
@given(cubics, st.floats(1e-2, 3))
def test_lemmas_hold_on_any_cubic(cubic, rho):
    zeroth, first = cubic.flatness(rho)
    # The grid may miss a little of R¹, by at most its spacing times the smoothness.
    spectral_norm, gradient_norm, lipschitz = cubic.numbers()
    missed = (rho * np.pi / 720) * (spectral_norm + lipschitz * rho) * rho
    assert zeroth <= zeroth_order_flatness_bound(first + missed) + 1e-12
    lower, upper = cubic.curvature_bounds(rho)
    assert lower - 1e-9 <= first / rho**2 <= upper + 1e-9
    low, high = spectral_norm_bounds(first, gradient_norm, lipschitz, rho)
    assert low - 1e-9 <= spectral_norm <= high + 1e-9


def test_first_order_flatness_bounds_the_zeroth_order_one(assert_bound):
    linear = Cubic(np.zeros((2, 2)), [1.2, 0.0], [0.0, 0.0])
    zeroth, first = linear.flatness(0.3)
    assert_bound(zeroth, zeroth_order_flatness_bound(first), tightness=1.0)
    minimum = Cubic(np.diag([3.0, 1.0]), [0.0, 0.0], [0.0, 0.0])
    zeroth, first = minimum.flatness(0.3)
    assert_bound(zeroth, zeroth_order_flatness_bound(first), tightness=2.0)


def test_flatness_at_a_quadratic_minimum_is_the_sharpness(assert_bound):
    hessian = np.array([[3.0, 0.5], [0.5, 1.0]])
    sharpness, rho = np.linalg.eigvalsh(hessian)[-1], 0.2
    zeroth, first = Cubic(hessian, [0.0, 0.0], [0.0, 0.0]).flatness(rho)
    assert first_order_flatness_at_minimum(sharpness, rho) == pytest.approx(first, rel=1e-12)
    for weight in (0.0, 0.3, 2.0):
        bound = penalised_flatness_bound(sharpness, rho, weight)
        assert_bound(zeroth + weight * first, bound, tightness=(1 + weight) / (0.5 + weight))


@pytest.mark.parametrize("rho", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("gradient", [0.0, 0.7])
def test_curvature_bounds_are_attained_by_a_cubic(rho, gradient, assert_bound):
    x = np.linspace(-rho, rho, 20_001)
    first = rho * np.abs(gradient + 3 * x + 2 * x * np.abs(x) / 2).max()  # a = 3, c = 2
    assert_bound(first / rho**2, flatness_curvature_bounds(3.0, gradient, 2.0, rho)[1], tightness=1.0)
    assert_bound(3.0, spectral_norm_bounds(first, gradient, 2.0, rho)[0], tightness=1.0, sense="lower")
    first = rho * np.abs(3 * x - 2 * x * np.abs(x) / 2).max()
    assert_bound(first / rho**2, flatness_curvature_bounds(3.0, 0.0, 2.0, rho)[0], tightness=1.0, sense="lower")
    assert_bound(3.0, spectral_norm_bounds(first, 0.0, 2.0, rho)[1], tightness=1.0)


def test_curvature_bounds_fail_with_too_small_a_lipschitz_constant():
    cubic = Cubic(np.diag([3.0, 1.0]), [0.0, 0.0], [2.0, 0.0])
    _, first = cubic.flatness(0.5)
    assert first / 0.25 > flatness_curvature_bounds(3.0, 0.0, 2.0 / 1.1, 0.5)[1]


def test_flatness_over_squared_radius_tends_to_the_sharpness_at_a_minimum_only():
    minimum = Cubic(np.diag([3.0, 1.0]), [0.0, 0.0], [2.0, 1.0])
    away = Cubic(np.diag([3.0, 1.0]), [0.01, 0.0], [2.0, 1.0])
    assert minimum.flatness(1e-4)[1] / 1e-8 == pytest.approx(3, rel=1e-4)
    assert away.flatness(1e-4)[1] / 1e-8 == pytest.approx(103, rel=1e-4)  # λ + ‖g‖/ρ


def test_best_radius_has_the_least_excess():
    gradient_norm, lipschitz = 0.3, 2.0
    radii = np.linspace(0.01, 3, 100_001)
    excess = flatness_curvature_bounds(1.0, gradient_norm, lipschitz, radii)[1] - 1
    assert best_radius(gradient_norm, lipschitz) == pytest.approx(radii[excess.argmin()], abs=1e-3)
    assert excess.min() == pytest.approx(np.sqrt(2 * gradient_norm * lipschitz), rel=1e-8)
    assert best_radius(0.0, lipschitz) == 0


def test_bounds_broadcast_and_let_missing_numbers_pass():
    lower, upper = flatness_curvature_bounds([3.0, np.nan], 0.1, 2.0, np.array([[0.1], [0.2]]))
    assert lower.shape == upper.shape == (2, 2)
    assert upper[1, 0] == pytest.approx(3 + 0.5 + 0.2)
    assert np.isnan(upper[:, 1]).all()
    assert isinstance(zeroth_order_flatness_bound(0.3), float)


def test_numbers_out_of_range_are_rejected():
    with pytest.raises(ValueError, match=r"rho: got 0; allowed: > 0"):
        flatness_curvature_bounds(1.0, 1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"rho: got -1; allowed: > 0"):
        spectral_norm_bounds(1.0, 1.0, 1.0, [0.1, -1.0])
    with pytest.raises(ValueError, match=r"hessian_lipschitz: got 0; allowed: > 0"):
        best_radius(1.0, 0.0)
    with pytest.raises(ValueError, match=r"weight: got -1; allowed: >= 0"):
        penalised_flatness_bound(1.0, 1.0, -1.0)
