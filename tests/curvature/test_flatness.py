from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcheck.curvature.flatness import flatness
from boundcheck.curvature.hessian import HessianOperator, loss_and_gradient


def secular(matrix, linear, rho):
    """argmax of linear·δ + δ·matrix δ/2 on ‖δ‖ ≤ ρ: δ = (μI − A)⁻¹b with ‖δ‖ = ρ, μ ≥ λ_max by bisection."""
    values, vectors = torch.linalg.eigh(matrix)
    b = vectors.mT @ linear
    low, high = values[-1].item(), values[-1].item() + linear.norm().item() / rho
    for _ in range(200):
        mu = (low + high) / 2
        low, high = (mu, high) if (b / (mu - values)).norm() > rho else (low, mu)
    delta = vectors @ (b / (high - values))
    hard = math.sqrt(max(rho**2 - (delta @ delta).item(), 0.0))  # the hard case fills up along the top eigenvector
    return delta + hard * vectors[:, -1] if hard > 1e-6 * rho else delta


def exact(matrix, x, rho):
    """R⁰ and R¹ of x·Ax/2 in closed form, and where they are attained."""
    zeroth, first = secular(matrix, matrix @ x, rho), secular(matrix @ matrix, matrix @ matrix @ x, rho)
    height = zeroth @ matrix @ x + zeroth @ matrix @ zeroth / 2
    return height.item(), rho * (matrix @ (x + first)).norm().item(), zeroth, first


def quadratic(matrix):
    return lambda theta: theta @ matrix @ theta / 2


@pytest.fixture
def problems():
    """30 random positive semidefinite A (10, 10), with a point and a radius."""
    draw = torch.Generator().manual_seed(7)
    made = []
    for i in range(30):
        factor = torch.randn(10, 10 - i % 4, dtype=torch.float64, generator=draw)
        x = torch.randn(10, dtype=torch.float64, generator=draw)
        rho = 10 ** torch.empty(1, dtype=torch.float64).uniform_(-2, 0.5, generator=draw).item()
        made.append((factor @ factor.mT / 10, x, rho))
    return made


def test_quadratics_against_the_secular_equation(problems, generator):
    for matrix, x, rho in problems:
        top = torch.linalg.eigh(matrix).eigenvectors[:, -1]
        found = flatness(quadratic(matrix), x, rho, generator, 1, 3000, top, tolerance=1e-7)
        zeroth, first, _, _ = exact(matrix, x, rho)
        assert found.zeroth == pytest.approx(zeroth, rel=1e-9)
        assert found.first == pytest.approx(first, rel=1e-9)
        assert found.zeroth <= found.first
        top_value = torch.linalg.eigvalsh(matrix)[-1].item()
        assert rho * found.gradient_norm <= found.first <= rho * (found.gradient_norm + rho * top_value) * (1 + 1e-12)


def test_at_the_minimum_first_is_twice_zeroth(problems, generator):
    for matrix, _, rho in problems[:5]:
        values, vectors = torch.linalg.eigh(matrix)
        found = flatness(quadratic(matrix), torch.zeros(10).double(), rho, generator, top_eigenvector=vectors[:, -1])
        assert found.zeroth == pytest.approx(rho**2 * values[-1].item() / 2, rel=1e-12)
        assert found.first == pytest.approx(rho**2 * values[-1].item(), rel=1e-12)
        assert found.one_step_first == 0  # without a gradient there is no first step


def test_along_the_top_eigenvector(problems, generator):
    for matrix, _, rho in problems[:5]:
        values, vectors = torch.linalg.eigh(matrix)
        top, s = values[-1].item(), 0.7
        found = flatness(quadratic(matrix), s * vectors[:, -1], rho, generator, tolerance=1e-10)
        assert found.first == pytest.approx(rho * top * (s + rho), rel=1e-12)
        assert found.zeroth == pytest.approx(top * (s * rho + rho**2 / 2), rel=1e-12)
        assert found.one_step_first == pytest.approx(found.first, rel=1e-12)


def test_both_ascents_rise_in_every_step_on_convex_quadratics(problems, generator):
    for matrix, x, rho in problems[:8]:
        for norms in flatness(quadratic(matrix), x, rho, generator, tolerance=1e-6).history.values():
            assert all(after >= before * (1 - 1e-12) for before, after in itertools.pairwise(norms))


def test_the_best_starts_alone_find_the_same_maxima_of_convex_quadratics(problems):
    for matrix, x, rho in problems[:8]:
        every, best = (
            flatness(
                quadratic(matrix), x, rho, torch.Generator().manual_seed(3), 3, 400, tolerance=1e-7, ascents=number
            )
            for number in (None, 2)
        )
        assert best.first == pytest.approx(every.first, rel=1e-9)
        assert best.zeroth == pytest.approx(every.zeroth, rel=1e-9)
        assert best.num_hvps < every.num_hvps
        assert best.one_step_first == every.one_step_first
        begins = {name: norms[0] for name, norms in every.history.items() if name != "summit"}
        followed = sorted(begins, key=begins.__getitem__)[-2:]
        assert set(best.history) == {"centre", *followed}


def test_an_ascent_ends_with_its_first_small_rise(problems, generator):
    lengths = []
    for matrix, x, rho in problems[:8]:
        for norms in flatness(quadratic(matrix), x, rho, generator, 2, 50, least_rise=0.01).history.values():
            rises = [after - before > 0.01 * after for before, after in itertools.pairwise(norms)]
            assert all(rises[:-1])
            lengths.append(len(norms))
    assert 2 < max(lengths) < 50


def test_the_first_step_is_the_one_of_gam(problems, generator):
    for matrix, x, rho in problems[:5]:
        f = matrix @ matrix @ x
        expected = rho * (matrix @ (x + rho * f / f.norm())).norm()
        assert flatness(quadratic(matrix), x, rho, generator).one_step_first == pytest.approx(
            expected.item(), rel=1e-12
        )


def test_gradients_at_the_maximisers_are_those_of_the_maxima(problems, generator):
    """Danskin: ∇R⁰ = ∇L(θ+δ) − ∇L(θ) and ∇R¹ = ρ H(θ+δ)g/‖g‖, at the maximiser δ of each."""
    for matrix, x, rho in problems[:4]:
        found = flatness(quadratic(matrix), x, rho, generator, iterations=4000, tolerance=1e-11)
        start, moved = HessianOperator(quadratic(matrix), x), found.maximiser
        there = HessianOperator(quadratic(matrix), x + moved)
        first = rho * there.matvec(there.gradient) / there.gradient.norm()
        zeroth = loss_and_gradient(quadratic(matrix), x + found.zeroth_maximiser)[1] - start.gradient
        for i in (0, 4):
            step = 1e-5 * torch.eye(10, dtype=torch.float64)[i]
            plus, minus = exact(matrix, x + step, rho), exact(matrix, x - step, rho)
            assert (plus[0] - minus[0]) / 2e-5 == pytest.approx(zeroth[i].item(), abs=1e-7)
            assert (plus[1] - minus[1]) / 2e-5 == pytest.approx(first[i].item(), abs=1e-7)


@pytest.mark.parametrize("k", [3.0, 10.0])
def test_the_toy_on_which_the_zeroth_order_is_blind(generator, k):
    def loss(x):
        return 0.3 * (1 - torch.cos(k * x)).sum() / 2

    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for rho in (math.pi / k, 1.3 * math.pi / k):
        found = flatness(loss, zero, rho, generator, 2, 60, one, tolerance=1e-9)
        assert found.zeroth == pytest.approx(0.3, abs=1e-6)
        assert found.first == pytest.approx(rho * 0.3 * k / 2, abs=1e-6)


def test_the_tight_example_of_a_lipschitz_hessian(generator):
    a, c, rho = 1.3, 0.7, 0.1
    found = flatness(lambda x: a * x[0] ** 2 / 2 + c * x[0].abs() ** 3 / 6, torch.zeros(1).double(), rho, generator)
    assert found.first / rho**2 - a == pytest.approx(c * rho / 2, abs=1e-10)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_both_poles_of_the_top_eigenvector_are_tried(generator, side):
    def loss(x):
        return (x**2 / 2 + side * x**3 / 6).sum()

    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    found = flatness(loss, zero, 0.3, generator, starts=0, top_eigenvector=one)
    assert found.zeroth == pytest.approx(0.3**2 / 2 + 0.3**3 / 6, rel=1e-12)
    assert found.first == pytest.approx(0.3 * (0.3 + 0.3**2 / 2), rel=1e-12)


@settings(max_examples=25)
@given(
    rho=st.floats(0.01, 3),
    seed=st.integers(0, 10**6),
    segment=st.integers(1, 4),
    ascents=st.sampled_from([None, 1, 2]),
    least_rise=st.sampled_from([0.0, 0.01]),
)
def test_zeroth_never_exceeds_first_and_both_beat_random_search(tanh_loss, rho, seed, segment, ascents, least_rise):
    on, _ = tanh_loss
    draw = torch.Generator().manual_seed(seed)
    theta = torch.randn(67, dtype=torch.float64, generator=draw)
    choices = {"segment": segment, "ascents": ascents, "least_rise": least_rise}
    found = flatness(on(0, 12), theta, rho, draw, starts=1, iterations=4, **choices)
    assert found.zeroth <= found.first * (1 + 1e-12)
    assert found.maximiser.norm() <= rho * (1 + 1e-12)
    assert found.zeroth_maximiser.norm() <= rho * (1 + 1e-12)
    for _ in range(5):
        delta = torch.randn(67, dtype=torch.float64, generator=draw)
        loss, gradient = loss_and_gradient(on(0, 12), theta + rho * delta / delta.norm())
        assert loss.item() - found.loss <= found.zeroth
        assert rho * gradient.norm().item() <= found.first


def test_a_cliff_between_grid_points_is_found_by_bisection(generator):
    def cliff(x):
        return torch.sigmoid(200 * (x - 0.3)).sum()

    found = flatness(
        cliff, torch.zeros(1, dtype=torch.float64), 1.0, generator, 2, 1, torch.ones(1).double(), segment=1
    )
    assert found.zeroth == pytest.approx(1)
    assert found.first >= found.zeroth


def test_what_is_reported_is_attained(tanh_loss, generator):
    on, theta = tanh_loss
    chunks, rho = [on(0, 7), on(7, 12)], 0.4
    found = flatness(chunks, theta, rho, generator)
    whole = flatness(on(0, 12), theta, rho, torch.Generator().manual_seed(0))
    base, gradient = loss_and_gradient(chunks, theta)
    assert (found.loss, found.gradient_norm) == (base.item(), pytest.approx(gradient.norm().item(), rel=1e-14))
    assert loss_and_gradient(chunks, theta + found.zeroth_maximiser)[0] - base == pytest.approx(found.zeroth, abs=1e-15)
    there = loss_and_gradient(chunks, theta + found.maximiser)[1].norm().item()
    assert rho * there == pytest.approx(found.first, rel=1e-14)
    assert found.first == pytest.approx(whole.first, rel=1e-9)


def test_candidates_of_a_smaller_radius_make_the_flatness_grow(tanh_loss, generator):
    on, theta = tanh_loss
    small = flatness(on(0, 12), theta, 0.5, generator)
    large = flatness(on(0, 12), theta, 0.5001, generator, 0, 1, candidates=[small.maximiser, small.zeroth_maximiser])
    assert large.first >= small.first
    assert large.zeroth >= small.zeroth


def test_a_step_that_falls_is_halved(generator):
    """sin has its steepest point inside the ball: full steps jump over it for ever."""
    found = flatness(
        lambda x: torch.sin(x).sum(), torch.ones(1).double(), 2.0, generator, iterations=50, tolerance=1e-9
    )
    assert found.first == pytest.approx(2, rel=1e-9)
    assert found.zeroth == pytest.approx(1 - math.sin(1), abs=1e-5)  # zigzags around an inner maximum


@pytest.mark.parametrize("ascents", [None, 1])
def test_the_cost_is_counted(generator, ascents):
    calls = []

    def loss(x):
        calls.append(1)
        return (x**4).sum()

    found = flatness(loss, torch.ones(3, dtype=torch.float64), 0.1, generator, ascents=ascents)
    assert found.num_gradients == len(calls)
    assert 0 < found.num_hvps < found.num_gradients


@pytest.mark.parametrize(
    "wrong", [{"rho": 0.0}, {"starts": -1}, {"iterations": 0}, {"segment": 0}, {"ascents": 0}, {"least_rise": -0.1}]
)
def test_numbers_that_make_no_sense_are_rejected(wrong, generator):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        flatness(torch.sum, torch.ones(2), **{"rho": 1.0, "generator": generator, **wrong})
