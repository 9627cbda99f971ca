"""What the theory says of gradient descent, against the loss's dense Hessian and against steps that are really made."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, hessian

from boundcheck.theory.weight_norm.activation import SMOOTH
from boundcheck.theory.weight_norm.bounds import matrix_norms, parameter_bounds
from boundcheck.theory.weight_norm.convexity import (
    linear_rate,
    rate_bound,
    restricted_convexity,
    restricted_lower_bound,
)
from boundcheck.theory.weight_norm.network import Network, paper_scales
from boundcheck.theory.weight_norm.recursion import Bounds
from boundcheck.theory.weight_norm.training import (
    certified_step,
    descent_bound,
    loss_smoothness,
    loss_without_targets,
    row_norm_after_step,
    smoothness_along_step,
)

WIDTHS, NUM_OUTPUTS, NUM = [3, 5, 4], 2, 6


class Problem:
    """A small network with two outputs, its inputs of one length, and its square loss as a function of θ."""

    def __init__(self, seed=0, activation="tanh", row_norm=None, normalised=True, output_scale=1.0):
        generator = torch.Generator().manual_seed(seed)
        self.sizes = [(m, n) for m, n in zip(WIDTHS[1:], WIDTHS, strict=False)] + [(NUM_OUTPUTS, WIDTHS[-1])]
        parts = [torch.randn(size, generator=generator, dtype=torch.float64) for size in self.sizes]
        if row_norm is not None:
            parts[:-1] = [row_norm * p / p.norm(dim=1, keepdim=True) for p in parts[:-1]]
        parts[-1] = output_scale * parts[-1]
        self.theta, self.phi, self.normalised = torch.cat([p.flatten() for p in parts]), SMOOTH[activation], normalised
        x = torch.randn(NUM, WIDTHS[0], generator=generator, dtype=torch.float64)
        self.length = math.sqrt(WIDTHS[0])
        self.x = self.length * x / x.norm(dim=1, keepdim=True)
        self.y = F.one_hot(torch.randint(NUM_OUTPUTS, (NUM,), generator=generator), NUM_OUTPUTS).double()

    def parts(self, theta):
        split = theta.split([m * n for m, n in self.sizes])
        return [p.view(size) for p, size in zip(split, self.sizes, strict=True)]

    def outputs(self, theta):
        *hidden, last = self.parts(theta)
        a = self.x
        for s, w in zip(paper_scales(WIDTHS), hidden, strict=False):
            rows = w / w.square().sum(1, keepdim=True).sqrt() if self.normalised else w
            a = self.phi.value(s * a @ rows.T)
        return a @ last.T / math.sqrt(WIDTHS[-1])

    def loss(self, theta):
        return (self.outputs(theta) - self.y).square().sum(1).mean()

    def average(self, theta):
        return self.outputs(theta).sum(1).mean() / math.sqrt(NUM_OUTPUTS)

    @property
    def residuals(self):
        return (self.outputs(self.theta) - self.y).norm(dim=1)

    @property
    def network(self):
        *hidden, last = self.parts(self.theta)
        return Network(hidden, last, self.phi, normalised=self.normalised)

    @property
    def gradient(self):
        return grad(self.loss)(self.theta)

    def gradient_norms(self):
        return [p.norm() for p in self.parts(self.gradient)]

    def smoothness(self, lr, residual=None):
        residual = self.residuals.mean() if residual is None else residual
        last = self.parts(self.theta)[-1]
        lr = torch.as_tensor(lr, dtype=torch.float64)
        return smoothness_along_step(self.network, last, self.length, lr, self.gradient_norms(), residual)


def problems():
    for seed, activation in enumerate(SMOOTH):
        for row_norm, scale in ((None, 0.3), (0.1, 1.0), (3.0, 4.0)):
            yield Problem(seed, activation, row_norm, output_scale=scale)
        yield Problem(seed, activation, normalised=False)


def test_row_norms_after_a_step():
    problem = Problem(1)
    for lr in (0.1, 10.0):
        after = problem.parts(problem.theta - lr * problem.gradient)
        for w, g, new in zip(problem.parts(problem.theta), problem.parts(problem.gradient), after[:-1], strict=False):
            assert (w * g).sum(1).abs().max() < 1e-15
            expected = row_norm_after_step(w.norm(dim=1), lr, g.norm(dim=1))
            np.testing.assert_allclose(new.norm(dim=1), expected, rtol=1e-14)
            assert (new.norm(dim=1) >= w.norm(dim=1)).all()


def row_norms(optimizer_of, num=400):
    """‖w‖ along steps whose gradients are tangents of any size and sign, as those of a normalised row are."""
    generator = torch.Generator().manual_seed(3)
    w = torch.nn.Parameter(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    optimizer, found = optimizer_of([w]), []
    for _ in range(num):
        tangent = torch.randn(3, generator=generator, dtype=torch.float64)
        found.append(w.norm().item())
        w.grad = tangent - (tangent @ w.detach()) / w.detach().square().sum() * w.detach()
        optimizer.step()
    return np.array(found)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.99, "dampening": 0.5}], ids=str)
def test_row_norms_never_fall_under_gradient_descent_or_the_heavy_ball(settings):
    assert (np.diff(row_norms(lambda w: torch.optim.SGD(w, lr=0.1, **settings))) >= 0).all()


def test_row_norms_fall_otherwise():
    for optimizer_of in (
        lambda w: torch.optim.SGD(w, lr=0.1, weight_decay=0.1),
        lambda w: torch.optim.Adam(w, lr=0.1),
    ):
        assert (np.diff(row_norms(optimizer_of)) < 0).any()


@pytest.mark.parametrize("lr", [0.0, 0.3, 3.0])
def test_smoothness_bounds_the_hessian_on_the_whole_way(lr):
    for problem in problems():
        beta, gradient = problem.smoothness(lr), problem.gradient
        for share in (0.0, 0.4, 1.0):
            matrix = hessian(problem.loss)(problem.theta - share * lr * gradient)
            assert torch.linalg.eigvalsh(matrix)[-1] <= beta


def test_smoothness_is_tight_within_a_small_factor(assert_bound):
    problem = Problem(2, "softplus", 1.0)
    sharpness = torch.linalg.eigvalsh(hessian(problem.loss)(problem.theta))[-1].item()
    assert_bound(sharpness, problem.smoothness(0.0).item(), tightness=(1.0, 20.0))


def test_descent_holds_for_steps_of_any_length(assert_bound):
    for problem in problems():
        step, _ = certified_step(
            problem.network, problem.parts(problem.theta)[-1], problem.length, problem.gradient_norms(),
            problem.residuals.mean(),
        )  # fmt: skip
        loss, gradient = problem.loss(problem.theta).item(), problem.gradient
        for factor in (0.1, 1.0, 3.0, 10.0, 1000.0):
            lr = factor * step.item()
            bound = descent_bound(loss, gradient.norm().item(), lr, problem.smoothness(lr).item())
            assert problem.loss(problem.theta - lr * gradient).item() <= bound + 1e-14
        decrease = loss - problem.loss(problem.theta - step * gradient).item()
        certified = step.item() / 2 * gradient.norm().item() ** 2
        assert_bound(decrease, certified, tightness=(1.0, 100.0), sense="lower")


def test_descent_by_hand():
    assert descent_bound(2.0, 3.0, 0.1, 4.0) == pytest.approx(2 - 0.1 * (1 - 0.2) * 9)
    bounds = Bounds(*(torch.tensor([v], dtype=torch.float64) for v in (2.0, 3.0, 1.0)))
    numbers = [torch.tensor(v, dtype=torch.float64) for v in (0.5, 0.1, 10.0)]
    assert loss_smoothness(bounds, *numbers).item() == pytest.approx(2 * 4 + 2 * (0.5 + 0.2) * 3)
    numbers[2] = torch.tensor(0.6, dtype=torch.float64)
    assert loss_smoothness(bounds, *numbers).item() == pytest.approx(2 * 4 + 2 * 0.6 * 3)


def test_the_certified_step_knows_no_residual_and_is_then_shorter():
    problem = Problem(3)
    arguments = (problem.network, problem.parts(problem.theta)[-1], problem.length, problem.gradient_norms())
    known, _ = certified_step(*arguments, problem.residuals.mean())
    unknown, _ = certified_step(*arguments, torch.tensor(math.inf, dtype=torch.float64))
    assert 0 < unknown < known
    step = unknown.item()
    assert step <= 1 / problem.smoothness(step, torch.tensor(math.inf, dtype=torch.float64)).item()


@pytest.mark.parametrize("omega", [0.3, 1.0, 1.9])
@pytest.mark.parametrize("root_of_the_loss", [True, False])
def test_a_certified_step_of_any_length_keeps_its_promise(omega, root_of_the_loss):
    """L(θ) − L(θ − η∇L) ≥ η(1 − ω/2)‖∇L‖², as ηβ(η) ≤ ω; with the mean residual, and with the root of the loss."""
    for problem in problems():
        loss, gradient = problem.loss(problem.theta), problem.gradient
        residual = loss.sqrt() if root_of_the_loss else problem.residuals.mean()
        last = problem.parts(problem.theta)[-1]
        step, _ = certified_step(
            problem.network, last, problem.length, problem.gradient_norms(), residual, omega=omega
        )  # fmt: skip
        assert step * problem.smoothness(step, residual) <= omega * (1 + 1e-12)
        decrease = loss - problem.loss(problem.theta - step * gradient)
        assert decrease >= step * (1 - omega / 2) * gradient.square().sum() - 1e-14


def test_the_loss_is_told_by_gradient_and_predictions():
    for problem in problems():
        last, gradient = (problem.parts(v)[-1] for v in (problem.theta, problem.gradient))
        square = problem.outputs(problem.theta).square().sum(1).mean()
        found = loss_without_targets(last, gradient, square)
        assert found.item() == pytest.approx(problem.loss(problem.theta).item(), rel=1e-12)


def test_several_networks_at_once_equal_one_by_one():
    both = [Problem(seed) for seed in (5, 6)]
    hidden = [torch.stack(w) for w in zip(*(p.parts(p.theta)[:-1] for p in both), strict=True)]
    last = torch.stack([p.parts(p.theta)[-1] for p in both])
    norms = [torch.stack(n) for n in zip(*(p.gradient_norms() for p in both), strict=True)]
    residual = torch.stack([p.residuals.mean() for p in both])
    steps, _ = certified_step(Network(hidden, last, both[0].phi), last, both[0].length, norms, residual)
    for problem, step in zip(both, steps, strict=True):
        alone, _ = certified_step(
            problem.network, problem.parts(problem.theta)[-1], problem.length, problem.gradient_norms(),
            problem.residuals.mean(),
        )  # fmt: skip
        assert step.item() == pytest.approx(alone.item(), rel=1e-12)


def convexity(problem, radius, kappa):
    bounds = parameter_bounds(problem.network, problem.length, radius, matrix_norms(problem.parts(problem.theta)[-1]))
    average = grad(problem.average)(problem.theta)
    return restricted_convexity(average.norm(), bounds, problem.residuals.mean().reshape(1), radius, kappa), average


def directions(axis, kappa, num, seed):
    """Unit vectors on the edge of the cone around ±axis, where the bound is most in danger."""
    generator = torch.Generator().manual_seed(seed)
    axis = axis / axis.norm()
    for i in range(num):
        noise = torch.randn(len(axis), generator=generator, dtype=torch.float64)
        noise = noise - (noise @ axis) * axis
        yield (-1) ** i * kappa * axis + math.sqrt(1 - kappa**2) * noise / noise.norm()


def convex_problems():
    """Long rows and hardly any residual: α is positive."""
    for seed in range(6):
        for activation in ("softplus", "tanh", "gelu"):
            problem = Problem(seed, activation, row_norm=50.0, output_scale=0.02)
            problem.y = problem.outputs(problem.theta) + 1e-3 * (problem.y - 0.5)
            yield problem


@pytest.mark.parametrize(("radius", "kappa"), [(1e-4, 0.5), (1e-2, 0.9), (0.05, 0.9)])
def test_restricted_convexity_holds_on_sampled_directions(radius, kappa, assert_bound):
    positive = 0
    for seed, problem in enumerate(convex_problems()):
        alpha, average = convexity(problem, radius, kappa)
        if alpha <= 0:
            continue
        positive += 1
        loss, gradient = problem.loss(problem.theta), problem.gradient
        found = []
        for direction in directions(average, kappa, 6, seed):
            delta = radius * direction
            bound = restricted_lower_bound(loss, delta @ gradient, alpha, delta.norm())
            change = problem.loss(problem.theta + delta)
            assert change >= bound - 1e-15
            found.append(2 * (change - loss - delta @ gradient).item() / radius**2)
        assert_bound(min(found), alpha.item(), tightness=(1.0, 200.0), sense="lower", rel=1e-3)
    assert positive >= 6


def test_restricted_convexity_by_hand():
    bounds = Bounds(*(torch.tensor([v], dtype=torch.float64) for v in (2.0, 0.5, 1.0)))
    alpha = restricted_convexity(torch.tensor(3.0), bounds, torch.tensor([0.2]), 0.1, 0.8)
    assert alpha.item() == pytest.approx(2 * (0.8 * 3 - 0.05) ** 2 - 2 * 0.5 * (0.2 + 0.2))
    assert restricted_convexity(torch.tensor(0.0), bounds, torch.tensor([0.2]), 0.1, 0.8) < 0
    with pytest.raises(ValueError, match="kappa: got 0"):
        restricted_convexity(torch.tensor(3.0), bounds, torch.tensor([0.2]), 0.1, 0)


def test_the_rate_holds_for_a_certified_step(assert_bound):
    certified = 0
    for seed, problem in enumerate(convex_problems()):
        alpha, average = convexity(problem, 0.01, 0.5)
        if alpha <= 0:
            continue
        certified += 1
        loss, gradient = problem.loss(problem.theta).item(), problem.gradient
        points = [problem.theta + 0.01 * d for d in directions(average, 0.5, 10, seed)]
        least = min(problem.loss(point).item() for point in points)
        beta = problem.smoothness(0.0).item()
        for omega in (0.5, 1.0, 1.5):
            lr = omega / problem.smoothness(omega / beta).item()
            true_beta = problem.smoothness(lr).item()
            bound = float(rate_bound(loss, least, alpha.item(), true_beta, lr * true_beta))
            assert problem.loss(problem.theta - lr * gradient).item() <= bound + 1e-16
    assert certified >= 6


def test_rate_by_hand(assert_bound):
    """L = β/2 x² is restricted strongly convex with α = β everywhere: at ω = 1 the rate is attained."""
    assert linear_rate(4.0, 8.0, 0.5) == pytest.approx(4 * 0.75 / 8)
    bound = float(rate_bound(2.0, 0.0, 4.0, 4.0, 1.0))
    assert bound == pytest.approx(0.0)
    after = 2.0 * (1 - 0.5) ** 2  # ω = 1/2
    assert_bound(after, float(rate_bound(2.0, 0.0, 4.0, 4.0, 0.5)), tightness=1.0)
