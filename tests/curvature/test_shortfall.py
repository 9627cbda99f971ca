"""The estimate of what the ascents missed, against brute force on losses of 2 to 10 parameters."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, hessian, vmap

from boundcheck.curvature.ball import Ascent, shortfall
from boundcheck.curvature.flatness import flatness

DEFAULT = {"starts": 3, "iterations": 20, "segment": 20}
FEW = {"starts": 3, "iterations": 20, "segment": 10, "ascents": 3, "least_rise": 1e-3}
NEAR = 1e-6  # of the value: less is rounding, or brute force that has not quite converged


def problem(number):
    """A loss and a point: a tanh network, a logistic regression, a deep linear network, or a wavy bowl."""
    draw = torch.Generator().manual_seed(1000 + number)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    step = number // 4
    if number % 4 == 0:
        hidden = 1 + step % 3
        size, x, y = 3 * hidden + 1, normal(8), normal(8)

        def loss(theta):
            w, b, v = theta[:-1].view(3, hidden)
            return ((torch.tanh(x[:, None] * w + b) @ v + theta[-1] - y) ** 2).mean()

    elif number % 4 == 1:
        size = 2 + step % 9
        x, signs = normal(12, size), 2.0 * torch.randint(0, 2, (12,), generator=draw) - 1

        def loss(theta):
            return F.softplus(-signs * (x @ theta)).mean()

    elif number % 4 == 2:
        size, y = 2 + step % 5, normal()

        def loss(theta):
            return (theta.prod() - y) ** 2

    else:
        size = 2 + step % 9
        factor, waves, heights = normal(size, size), 1.5 * normal(6, size), normal(6) / 2

        def loss(theta):
            return (factor.mT @ theta).square().sum() / size / 2 + (heights * torch.sin(waves @ theta)).sum()

    return loss, normal(size)


def brute_force(loss, theta, rho, starts, steps):
    """R⁰ and R¹ by ascents with adaptive steps from many points of the ball and its sphere."""
    draw = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(starts, len(theta), generator=draw, dtype=torch.float64))
    lengths = torch.rand(starts, 1, generator=draw, dtype=torch.float64) ** (1 / len(theta))
    lengths[::2] = 1.0

    def height(delta):
        return loss(theta + delta) - loss(theta)

    def steepness(delta):
        return (grad(loss)(theta + delta).square().sum() + 1e-300).sqrt()

    best = []
    for function in (height, steepness):
        value_of, slope_of = vmap(function), vmap(grad(function))
        delta, step = rho * lengths * directions, torch.full((starts, 1), 0.3 * rho, dtype=torch.float64)
        values = value_of(delta)
        for _ in range(steps):
            target = delta + step * F.normalize(slope_of(delta))
            target = target * (rho / target.norm(dim=1, keepdim=True)).clamp_max(1)
            reached = value_of(target)
            rises = reached > values
            delta, values = torch.where(rises[:, None], target, delta), torch.where(rises, reached, values)
            step = torch.where(rises[:, None], 1.1 * step, 0.6 * step)
        best.append(values.max().item())
    return best[0], rho * best[1]


def compare(numbers, rhos, settings, starts, steps):
    """For each problem, radius and flatness the shares of the value that were missed, and that were estimated."""
    pairs = []
    for number in numbers:
        loss, theta = problem(number)
        values, vectors = torch.linalg.eigh(hessian(loss)(theta))
        top, candidates = vectors[:, values.abs().argmax()], []
        for rho in rhos:
            draw = torch.Generator().manual_seed(5)
            found = flatness(loss, theta, rho, draw, top_eigenvector=top, candidates=candidates, **settings)
            candidates = [found.maximiser, found.zeroth_maximiser]
            true = brute_force(loss, theta, rho, starts, steps)
            estimates = (found.zeroth, found.zeroth_shortfall), (found.first, found.first_shortfall)
            pairs += [
                (max(best - value, 0.0) / value, estimate / value)
                for best, (value, estimate) in zip(true, estimates, strict=True)
                if value > 0
            ]
    missed, estimated = torch.tensor(pairs, dtype=torch.float64).T
    return missed, missed <= estimated + NEAR, estimated


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_sample_of_the_calibration():
    missed, covered, estimated = compare((14, 28), (2.0,), FEW, starts=40, steps=25)
    assert (missed > 1e-3).any()
    assert covered.double().mean() >= 0.75
    assert estimated.median() < 0.1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("settings", "share"), [(DEFAULT, 0.97), (FEW, 0.85)])
def test_the_calibration(settings, share):
    """All 51; at the small radius hardly anything is missed and hardly anything estimated."""
    missed, covered, estimated = compare(range(51), (0.2, 2.0), settings, starts=200, steps=120)
    assert covered.double().mean() >= share
    assert covered[missed > 1e-3].double().mean() >= 0.85
    assert estimated.median() < 1e-3


def test_the_estimate_adds_what_is_left_and_what_other_starts_might_find():
    ascents = [Ascent([1.0, 3.0], 0.5), Ascent([2.0, 4.0, 3.5], 0.25), Ascent([1.0], 9.0)]
    assert shortfall(4.0, ascents) == 0.25 + (4.0 - 3.0)
    assert shortfall(5.0, ascents) == 0.25 + (5.0 - 3.0)  # the best was found elsewhere
    assert shortfall(4.0, [Ascent([4.0], 0.0), *ascents]) == 0.25  # two agree
    assert math.isnan(shortfall(4.0, ascents[:1]))


def test_a_longer_ascent_has_less_left():
    loss, theta = problem(3)
    shares = []
    for iterations in (1, 3, 30, 300):
        found = flatness(loss, theta, 0.3, torch.Generator().manual_seed(0), iterations=iterations, tolerance=1e-9)
        shares.append(found.first_shortfall / found.first)
    assert shares[-1] < 1e-6 < shares[0]
    assert shares == sorted(shares, reverse=True)


def test_ascents_that_agree_say_nothing_of_a_higher_maximum(generator):
    """As the docstrings say: an estimate of 0 is no proof."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)

    def loss(theta):
        return ((theta[0] * torch.tanh(theta[1] * x) - torch.sin(x)) ** 2).mean()

    theta = torch.ones(2, dtype=torch.float64)
    found = flatness(loss, theta, 2.0, generator, **DEFAULT)
    angles = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
    circle = theta + 2 * torch.stack([angles.cos(), angles.sin()], 1)
    highest = vmap(loss)(circle).max().item() - loss(theta).item()
    assert found.zeroth_shortfall < 1e-3 * highest
    assert found.zeroth < 0.9 * highest
