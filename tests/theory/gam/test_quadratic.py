"""Flatness of a quadratic: the secular equation against power ascent, dense search, and what is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcheck.theory.gam.quadratic import (
    apply,
    first_order_flatness,
    first_order_flatness_bound,
    first_order_flatness_gradient,
    unit,
    zeroth_order_flatness,
    zeroth_order_flatness_gradient,
)


def random_psd(rng, p, leading=()):
    root = rng.normal(size=(*leading, p, p))
    return root @ np.swapaxes(root, -1, -2) / p


def by_ascent(hessian, gradient, rho, rng, num_steps=1500):
    """R⁰ and R¹ (k,) of k convex quadratics by normalised ascent from the axes and from random directions."""
    p, gradient, rho = gradient.shape[-1], gradient[:, None], rho[:, None, None]
    starts = rho * unit(np.concatenate([np.eye(p), -np.eye(p), rng.normal(size=(10, p))]))
    zeroth = first = starts  # (k, starts, p)

    def normalised(step):
        return rho * step / np.sqrt((step * step).sum(-1, keepdims=True))

    for _ in range(num_steps):
        zeroth = normalised(gradient + zeroth @ hessian)
        first = normalised((gradient + first @ hessian) @ hessian)
    rises = (zeroth * (gradient + zeroth @ hessian / 2)).sum(-1)
    slopes = rho[..., 0] * np.linalg.norm(gradient + first @ hessian, axis=-1)
    return rises.max(-1), slopes.max(-1)


def on_disk(hessian, gradient, rho, num_angles=20_000, num_radii=3):
    """R⁰ and R¹ in two dimensions by looking everywhere."""
    angles = np.linspace(0, 2 * np.pi, num_angles, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    deltas = np.concatenate([rho * r * circle for r in np.linspace(0, 1, num_radii)])
    rises = deltas @ gradient + ((deltas @ hessian) * deltas).sum(-1) / 2
    return rises.max(), rho * np.linalg.norm(gradient + deltas @ hessian, axis=-1).max()


def test_closed_forms_agree_with_power_ascent(rng):
    hessian = random_psd(rng, 5, (30,))
    gradient, rho = apply(hessian, rng.normal(size=(30, 5))), rng.uniform(0.05, 2, 30)
    zeroth, first = by_ascent(hessian, gradient, rho, rng)
    np.testing.assert_allclose(zeroth_order_flatness(hessian, gradient, rho).flatness, zeroth, rtol=1e-9)
    np.testing.assert_allclose(first_order_flatness(hessian, gradient, rho).flatness, first, rtol=1e-9)


@pytest.mark.parametrize("eigenvalues", [(2.0, 0.5), (2.0, -3.0), (1.0, 1.0), (2.0, 0.0), (-1.0, -2.0)])
def test_closed_forms_agree_with_a_search_of_the_disk_for_any_sign_of_curvature(eigenvalues, rng):
    rotation = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    hessian = rotation @ np.diag(eigenvalues) @ rotation.T
    for gradient in rng.normal(size=(5, 2)):
        for rho in (0.1, 0.7, 3.0):
            zeroth, first = on_disk(hessian, gradient, rho, num_radii=100, num_angles=360)
            assert zeroth_order_flatness(hessian, gradient, rho).flatness == pytest.approx(zeroth, rel=1e-3)
            assert first_order_flatness(hessian, gradient, rho).flatness == pytest.approx(first, rel=1e-3)


def test_a_stationary_point_has_half_and_all_of_the_sharpness(rng):
    hessian = random_psd(rng, 6)
    sharpness, rho = np.linalg.eigvalsh(hessian)[-1], 0.3
    zeroth = zeroth_order_flatness(hessian, np.zeros(6), rho).flatness
    first = first_order_flatness(hessian, np.zeros(6), rho).flatness
    assert zeroth == pytest.approx(rho**2 * sharpness / 2, rel=1e-12)
    assert first == pytest.approx(rho**2 * sharpness, rel=1e-12)
    assert first / zeroth == pytest.approx(2, rel=1e-12)


def test_a_saddle_has_the_largest_modulus_of_curvature():
    assert first_order_flatness(np.diag([1.0, -4.0]), np.zeros(2), 0.1).flatness == pytest.approx(0.04, rel=1e-12)


def test_a_gradient_along_the_top_eigenvector_has_the_values_by_hand():
    hessian, offset, rho = np.diag([3.0, 1.0, 0.2]), -0.4, 0.25
    gradient = hessian @ (offset * np.eye(3)[0])
    zeroth, first = zeroth_order_flatness(hessian, gradient, rho), first_order_flatness(hessian, gradient, rho)
    assert zeroth.flatness == pytest.approx(3 * (0.4 * rho + rho**2 / 2), rel=1e-12)
    assert first.flatness == pytest.approx(rho * 3 * (0.4 + rho), rel=1e-12)
    np.testing.assert_allclose(first.displacement, [-rho, 0, 0], atol=1e-14)


def test_the_hard_case_fills_the_ball_along_the_top_eigenvector():
    hessian, gradient, rho = np.diag([3.0, 1.0]), np.array([0.0, 0.1]), 0.3
    second = 0.1 / (3 - 1)  # (μ − λ₂)⁻¹ g₂ at μ = λ₁
    zeroth = zeroth_order_flatness(hessian, gradient, rho)
    np.testing.assert_allclose(np.abs(zeroth.displacement), [np.sqrt(rho**2 - second**2), second], rtol=1e-14)
    assert zeroth.flatness == pytest.approx(on_disk(hessian, gradient, rho)[0], rel=1e-7)
    assert first_order_flatness(hessian, gradient, rho).flatness == pytest.approx(
        on_disk(hessian, gradient, rho)[1], rel=1e-7
    )


@pytest.mark.parametrize("part", [1e-3, 1e-9, 1e-16, 1e-200])
def test_almost_the_hard_case_is_as_exact(part):
    hessian, gradient, rho = np.diag([3.0, 1.0]), np.array([part, 0.1]), 0.3
    value, delta = zeroth_order_flatness(hessian, gradient, rho)
    assert np.linalg.norm(delta) == pytest.approx(rho, rel=1e-14)
    # No feasible point exceeds the value, and this one attains it.
    assert gradient @ delta + delta @ hessian @ delta / 2 == pytest.approx(value, rel=1e-14)
    hard = 0.1375 + part * np.sqrt(rho**2 - 0.05**2)  # to first order in the part
    assert value == pytest.approx(hard, abs=part**2 + 1e-15)


@pytest.mark.parametrize("size", [1e-100, 1e-200, 5e-324])
def test_a_gradient_whose_square_is_zero_counts_as_none(size):
    assert zeroth_order_flatness([[2.0]], [size], 3.0).flatness == pytest.approx(9.0, rel=1e-15)
    assert first_order_flatness([[2.0]], [size], 3.0).flatness == pytest.approx(18.0, rel=1e-15)
    np.testing.assert_allclose(unit(np.array([size, 0.0])), [1.0, 0.0])
    np.testing.assert_array_equal(unit(np.zeros(2)), 0.0)


def test_a_concave_loss_may_have_its_maximum_inside_the_ball():
    hessian, gradient = np.diag([-1.0, -2.0]), np.array([0.1, 0.1])
    zeroth = zeroth_order_flatness(hessian, gradient, 0.3)
    np.testing.assert_allclose(zeroth.displacement, [0.1, 0.05], rtol=1e-14)
    assert zeroth.flatness == pytest.approx((0.1 * 0.1 + 0.1 * 0.05) / 2, rel=1e-14)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
    st.floats(1e-3, 1e2),
    st.floats(0, 10),
)
def test_the_maximisers_attain_the_values_and_nothing_exceeds_them(eigenvalues, seed, rho, scale):
    rng, p = np.random.default_rng(seed), len(eigenvalues)
    rotation = np.linalg.qr(rng.normal(size=(p, p)))[0]
    hessian, gradient = rotation @ np.diag(eigenvalues) @ rotation.T, scale * rng.normal(size=p)
    deltas = rho * unit(rng.normal(size=(200, p))) * rng.uniform(size=(200, 1)) ** (1 / p)

    def rise(delta):
        return delta @ gradient + ((delta @ hessian) * delta).sum(-1) / 2

    def slope(delta):
        return rho * np.linalg.norm(gradient + delta @ hessian, axis=-1)

    zeroth, first = zeroth_order_flatness(hessian, gradient, rho), first_order_flatness(hessian, gradient, rho)
    for found, function in ((zeroth, rise), (first, slope)):
        assert np.linalg.norm(found.displacement) <= rho * (1 + 1e-12)
        assert function(found.displacement) == pytest.approx(found.flatness, rel=1e-9, abs=1e-14 * rho)
        assert np.all(function(deltas) <= found.flatness * (1 + 1e-12) + 1e-14 * rho)


def test_first_order_flatness_is_at_most_twice_the_zeroth_order_one(rng, assert_bound):
    hessian = random_psd(rng, 4, (3000,)) * np.exp(rng.normal(size=(3000, 1, 1)))
    gradient, rho = apply(hessian, rng.normal(size=(3000, 4))), np.exp(2 * rng.normal(size=3000))
    zeroth = zeroth_order_flatness(hessian, gradient, rho).flatness
    first = first_order_flatness(hessian, gradient, rho).flatness
    assert np.all(first <= first_order_flatness_bound(zeroth) * (1 + 1e-12))
    assert np.all(zeroth <= first * (1 + 1e-12))
    (zeroth,), (first,) = by_ascent(hessian[:1], np.zeros((1, 4)), np.array([0.5]), rng)
    assert_bound(first, first_order_flatness_bound(zeroth), tightness=1.0)


def test_gradients_are_those_of_the_flatness(rng):
    hessian, x, rho, step = random_psd(rng, 4), rng.normal(size=4), 0.4, 1e-6
    for flatness, gradient in (
        (zeroth_order_flatness, zeroth_order_flatness_gradient),
        (first_order_flatness, first_order_flatness_gradient),
    ):
        shifts = step * np.eye(4)
        ahead = flatness(hessian, (x + shifts) @ hessian, rho).flatness
        behind = flatness(hessian, (x - shifts) @ hessian, rho).flatness
        np.testing.assert_allclose(gradient(hessian, hessian @ x, rho), (ahead - behind) / (2 * step), rtol=1e-7)


def test_leading_axes_are_problems_solved_at_once(rng):
    hessian, gradient, rho = random_psd(rng, 3, (4,)), rng.normal(size=(4, 3)), np.array([0.1, 1.0])[:, None]
    together = zeroth_order_flatness(hessian, gradient, rho)
    assert together.flatness.shape == (2, 4)
    assert together.displacement.shape == (2, 4, 3)
    alone = zeroth_order_flatness(hessian[3], gradient[3], 1.0)
    assert together.flatness[1, 3] == pytest.approx(alone.flatness, rel=1e-14)
    np.testing.assert_allclose(together.displacement[1, 3], alone.displacement, rtol=1e-12)


def test_a_problem_solved_early_leaves_the_others_exact():
    gradients = np.array([[0.0, 0.1], [0.4, 0.1]])  # the hard case, and one that needs bisection
    together = zeroth_order_flatness(np.diag([3.0, 1.0]), gradients, 0.3)
    alone = zeroth_order_flatness(np.diag([3.0, 1.0]), gradients[1], 0.3)
    assert together.flatness[1] == alone.flatness


def test_a_missing_gradient_gives_a_missing_flatness():
    assert np.isnan(first_order_flatness(np.eye(2), [np.nan, 1.0], 0.1).flatness)


def test_a_radius_must_be_positive():
    with pytest.raises(ValueError, match=r"rho: got 0; allowed: > 0"):
        zeroth_order_flatness(np.eye(2), np.zeros(2), 0.0)
