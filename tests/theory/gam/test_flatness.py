"""What holds between R⁰, R¹ and the radius, on losses whose flatness is known or found by looking everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcheck.theory.gam import quadratic
from boundcheck.theory.gam.flatness import (
    convex_first_order_flatness_bound,
    first_order_excess_limit,
    first_order_flatness_bounds,
    relative_sharpness,
    rescaled_radius,
    rescaled_sharpness,
    ripple_flatness,
    scaling_exponent,
    zeroth_order_flatness_integral_bound,
)


def on_interval(loss, slope, rho, num_points=200_001):
    """R⁰ and R¹ at 0 of a loss of one variable, by looking everywhere."""
    x = np.linspace(-rho, rho, num_points)
    return (loss(x) - loss(np.zeros(1))).max(), rho * np.abs(slope(x)).max()


def test_integral_bound_is_attained_by_a_gradient_along_the_top_eigenvector(assert_bound):
    sharpness, offset, rho = 3.0, 0.4, 0.5
    radii = np.linspace(0, rho, 100_001)[1:]
    bound = zeroth_order_flatness_integral_bound(radii, sharpness * (offset + radii))
    zeroth, first = on_interval(
        lambda x: sharpness * (offset + x) ** 2 / 2, lambda x: sharpness * (offset + x), rho, 20_001
    )
    assert_bound(zeroth, bound[-1], tightness=1.0, rel=1e-5)
    assert bound[-1] < 0.75 * first  # sharper than R⁰ <= R¹


def test_integral_bound_holds_on_every_grid_at_every_radius():
    radii = np.array([0.1, 0.15, 0.6, 0.9])
    norms = np.array([np.abs(np.sin(3 * np.linspace(0, r, 10_001))).max() for r in radii])
    bounds = zeroth_order_flatness_integral_bound(radii, norms)
    zeroth = (1 - np.cos(3 * radii)) / 3  # of (1 − cos 3x)/3 at 0
    assert np.all(zeroth <= bounds)
    assert np.all(bounds <= radii * norms + 1e-15)
    assert bounds[1] == pytest.approx(0.1 * np.sin(0.3) + 0.05 * np.sin(0.45), rel=1e-12)  # the upper sum by hand


def test_integral_bound_takes_the_running_maximum_and_rejects_radii_out_of_order():
    np.testing.assert_allclose(zeroth_order_flatness_integral_bound([1.0, 2.0], [3.0, 1.0]), [3.0, 6.0])
    with pytest.raises(ValueError, match=r"radii: got 1; allowed: positive and increasing"):
        zeroth_order_flatness_integral_bound([2.0, 1.0], [3.0, 1.0])


@pytest.mark.parametrize(("width", "tightness"), [(0.3, 1.5), (0.002, 1.01 / 1.01 * (0.1 + 0.001) / 0.1)])
def test_convex_bound_is_almost_attained_by_a_flat_valley_with_linear_walls(width, tightness, assert_bound):
    rho = 0.1 if width < 0.1 else 0.3

    def beyond(x):
        return np.maximum(np.abs(x) - (rho - width), 0)

    def loss(x):  # slope 1 from |x| = ρ on, quadratic over `width` before
        return np.where(beyond(x) < width, beyond(x) ** 2 / (2 * width), beyond(x) - width / 2)

    def slope(x):
        return np.sign(x) * np.minimum(beyond(x) / width, 1)

    _, first = on_interval(loss, slope, rho)
    zeroth_at_double, _ = on_interval(loss, slope, 2 * rho)
    assert_bound(first, convex_first_order_flatness_bound(zeroth_at_double), tightness=tightness, rel=1e-6)


def test_convex_bound_is_twice_the_flatness_at_a_quadratic_minimum(assert_bound):
    _, first = on_interval(lambda x: 3 * x**2 / 2, lambda x: 3 * x, 0.2)
    zeroth_at_double, _ = on_interval(lambda x: 3 * x**2 / 2, lambda x: 3 * x, 0.4)
    assert_bound(first, convex_first_order_flatness_bound(zeroth_at_double), tightness=2.0)


def test_convex_bound_fails_without_convexity():
    zeroth_at_double, _ = on_interval(lambda x: np.cos(20 * x), lambda x: -20 * np.sin(20 * x), 0.2)
    _, first = on_interval(lambda x: np.cos(20 * x), lambda x: -20 * np.sin(20 * x), 0.1)
    assert first > convex_first_order_flatness_bound(zeroth_at_double)


def test_smoothness_bounds_are_attained_at_both_ends(assert_bound):
    _, first = on_interval(lambda x: 3 * (x + 0.4) ** 2 / 2, lambda x: 3 * (x + 0.4), 0.5)
    assert_bound(first, first_order_flatness_bounds(1.2, 3.0, 0.5)[1], tightness=1.0)
    _, first = on_interval(lambda x: 1.2 * x, lambda x: 1.2 + 0 * x, 0.5)
    assert_bound(first, first_order_flatness_bounds(1.2, 0.0, 0.5)[0], tightness=1.0, sense="lower")


@settings(max_examples=50)
@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=4),
    st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    st.floats(0.01, 10),
)
def test_smoothness_bounds_and_exponents_hold_on_quadratics_of_any_sign(eigenvalues, gradient, rho):
    gradient = np.array(gradient[: len(eigenvalues)])
    hessian, norm = np.diag(eigenvalues), np.abs(eigenvalues).max()
    lower, upper = first_order_flatness_bounds(np.linalg.norm(gradient), norm, rho)
    deltas = rho * np.vstack([np.eye(len(gradient)), -np.eye(len(gradient))])
    first = rho * np.linalg.norm(gradient + deltas @ hessian, axis=-1).max()  # a lower estimate
    exact = quadratic.first_order_flatness(hessian, gradient, rho).flatness
    assert first <= exact * (1 + 1e-12)
    assert lower * (1 - 1e-12) <= exact <= upper * (1 + 1e-12)
    radii = rho * np.array([1.0, 1.5, 4.0])
    flatness = quadratic.first_order_flatness(hessian, gradient, radii).flatness
    if np.all(flatness > 1e-100):
        assert 1 - 1e-9 <= scaling_exponent(radii, flatness) <= 2 + 1e-9


def test_excess_over_the_gradient_is_its_curvature_and_not_the_sharpness():
    hessian, gradient = np.array([[3.0, 0.5], [0.5, 1.0]]), np.array([-0.4, 1.0])
    unit = gradient / np.linalg.norm(gradient)
    limit = first_order_excess_limit(hessian, gradient)
    assert limit == pytest.approx(np.linalg.norm(hessian @ unit), rel=1e-14)
    errors = []
    for rho in (1e-2, 1e-3):
        angles = np.linspace(0, 2 * np.pi, 400_001)
        circle = rho * np.stack([np.cos(angles), np.sin(angles)], -1)
        first = rho * np.linalg.norm(gradient + circle @ hessian, axis=-1).max()
        errors.append(abs((first - rho * np.linalg.norm(gradient)) / rho**2 - limit))
    assert errors[1] < errors[0] / 5  # O(ρ)
    assert errors[1] < 1e-2
    assert limit < 0.5 * np.linalg.eigvalsh(hessian)[-1]


def test_excess_at_a_stationary_point_is_the_spectral_norm():
    hessian = np.diag([1.0, -4.0])
    np.testing.assert_allclose(first_order_excess_limit(hessian, [[0.0, 0.0], [2.0, 0.0]]), [4.0, 1.0], rtol=1e-14)


def test_exponent_is_two_at_a_minimum_and_one_where_the_gradient_dominates():
    radii = np.array([0.01, 0.02, 0.05])
    assert scaling_exponent(radii, 3 * radii**2) == pytest.approx(2, rel=1e-12)
    assert scaling_exponent(radii, radii * (100 + 3 * radii)) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(scaling_exponent(radii, [radii, 7 * radii**1.5]), [1, 1.5], rtol=1e-12)


def test_exponent_is_the_slope_of_least_squares(rng):
    radii, flatness = np.exp(rng.normal(size=6)), np.exp(rng.normal(size=6))
    assert scaling_exponent(radii, flatness) == pytest.approx(np.polyfit(np.log(radii), np.log(flatness), 1)[0])


def test_exponent_needs_two_positive_radii_and_positive_flatness():
    with pytest.raises(ValueError, match=r"radii: got -1; allowed: > 0"):
        scaling_exponent([-1.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="at least two different radii"):
        scaling_exponent([1.0, 1.0], [1.0, 1.0])
    assert np.isnan(scaling_exponent([1.0, 2.0], [0.0, 1.0]))


@pytest.mark.parametrize(("wavenumber", "rho"), [(4.0, 1.0), (40.0, 1.0), (4.0, 0.5), (4.0, 0.2)])
def test_ripples_have_the_flatness_found_by_looking_everywhere(wavenumber, rho):
    found = on_interval(
        lambda x: 0.7 * (1 - np.cos(wavenumber * x)) / 2, lambda x: 0.35 * wavenumber * np.sin(wavenumber * x), rho
    )
    np.testing.assert_allclose(ripple_flatness(0.7, wavenumber, rho), found, rtol=1e-6)


def test_zeroth_order_flatness_cannot_tell_ripples_apart():
    zeroth, first = ripple_flatness(0.7, np.array([4.0, 40.0]), 1.0)
    np.testing.assert_allclose(zeroth, 0.7, rtol=1e-14)
    np.testing.assert_allclose(first, [1.4, 14.0], rtol=1e-14)


def test_scale_invariant_losses_keep_their_flatness_at_the_rescaled_radius():
    form = np.array([[2.0, 0.3], [0.3, 0.5]])
    theta, scale, rho = np.array([0.6, -1.1]), 3.0, 0.25

    def loss(x):  # a Rayleigh quotient: L(cx) = L(x)
        return ((x @ form) * x).sum(-1) / (x**2).sum(-1)

    def gradient(x):
        return 2 * (x @ form - loss(x)[..., None] * x) / (x**2).sum(-1, keepdims=True)

    def flatness(x, radius):
        angles = np.linspace(0, 2 * np.pi, 721)
        disk = np.linspace(0, radius, 51)[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
        rise = loss(x + disk).max() - loss(x)
        return rise, radius * np.linalg.norm(gradient(x + disk), axis=-1).max()

    def sharpness(x):
        step = 1e-5 * np.linalg.norm(x)
        hessian = (gradient(x + step * np.eye(2)) - gradient(x - step * np.eye(2))) / (2 * step)
        return np.linalg.eigvalsh(hessian + hessian.T)[-1] / 2

    here, there = flatness(theta, rho), flatness(scale * theta, rescaled_radius(rho, scale))
    np.testing.assert_allclose(there, here, rtol=1e-12)
    assert flatness(scale * theta, rho)[1] < 0.5 * here[1]  # at a fixed radius it does not
    assert sharpness(scale * theta) == pytest.approx(rescaled_sharpness(sharpness(theta), scale), rel=1e-6)
    norm = np.linalg.norm(theta)
    assert relative_sharpness(rescaled_sharpness(2.0, scale), scale * norm) == pytest.approx(
        relative_sharpness(2.0, norm), rel=1e-14
    )
    assert relative_sharpness(2.0, 3.0) == 18.0


@pytest.mark.parametrize("function", [rescaled_radius, rescaled_sharpness])
def test_a_scale_must_be_positive(function):
    with pytest.raises(ValueError, match=r"scale: got 0; allowed: > 0"):
        function(1.0, 0.0)


def test_other_arguments_out_of_range_are_rejected():
    with pytest.raises(ValueError, match=r"rho: got -1; allowed: >= 0"):
        first_order_flatness_bounds(1.0, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"wavenumber: got 0; allowed: > 0"):
        ripple_flatness(1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"rho: got -1; allowed: >= 0"):
        ripple_flatness(1.0, 1.0, -1.0)
