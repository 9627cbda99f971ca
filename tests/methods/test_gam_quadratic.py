"""GAM on L(x) = ½ xᵀA x, where everything is known in closed form."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from boundcheck.methods import GAM
from boundcheck.methods.flat import perpendicular

RHO, ALPHA = 0.2, 0.3
XI = 1e-12


def hat(v):
    return v / (v.norm() + XI)


def direction(problem, **settings):
    """The direction of one step; the step itself has length zero."""
    settings = {"rho": RHO, "alpha": ALPHA, **settings}
    optimizer = GAM(torch.optim.SGD([problem.x], lr=0.0), **settings)
    optimizer.step(problem.closure(optimizer))
    return problem.x.grad.clone()


def flatness_gradient(A, x, rho=RHO):
    """∇R¹_ρ(x) = ρ A²x*/‖Ax*‖, x* = x + δ, where δ = (μI − A²)⁻¹A²x has the length ρ: μ by bisection."""
    squared = A @ A
    low = torch.linalg.eigvalsh(squared)[-1]
    high = low + (squared @ x).norm() / rho + 1
    identity = torch.eye(len(x), dtype=x.dtype)

    def delta(mu):
        return torch.linalg.solve(mu * identity - squared, squared @ x)

    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if delta(middle).norm() > rho else (low, middle)
    worst = x + delta(high)
    return rho * squared @ worst / (A @ worst).norm()


@pytest.mark.parametrize("seed", range(5))
def test_algorithm_1(make_quadratic, seed):
    problem = make_quadratic(seed)
    A, x = problem.A, problem.x.detach()
    adv = x + RHO * hat(A @ A @ x)
    expected = A @ x + ALPHA * RHO * A @ A @ adv / (A @ adv).norm()
    torch.testing.assert_close(direction(problem), expected, rtol=0, atol=1e-12)


def test_algorithm_1_scales_each_eigencoordinate_by_a_positive_number(make_quadratic):
    problem = make_quadratic(1)
    eigenvalues, vectors = torch.linalg.eigh(problem.A)
    x = vectors.mT @ problem.x.detach()
    squared = eigenvalues**2
    adv_gradient = (eigenvalues * (x + RHO * hat(squared * x))).norm()
    inner = 1 + RHO * squared / (squared * x).norm()
    expected = (eigenvalues + ALPHA * RHO * squared * inner / adv_gradient) * x
    torch.testing.assert_close(vectors.mT @ direction(problem), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("radius", [1e-3, 0.02, 1.0, 10.0])
@pytest.mark.parametrize("oracle", [{}, {"oracle": "sam", "oracle_rho": 0.1}])
def test_finite_differences_are_exact_for_any_radius(make_quadratic, radius, oracle):
    exact = direction(make_quadratic(2), **oracle)
    difference = direction(make_quadratic(2), form="finite_difference", radius=radius, **oracle)
    torch.testing.assert_close(difference, exact, rtol=0, atol=1e-9)


def test_many_inner_steps_give_the_gradient_of_first_order_flatness(make_quadratic):
    problem = make_quadratic(3)
    A, x = problem.A, problem.x.detach()
    expected = A @ x + ALPHA * flatness_gradient(A, x)
    error = [(direction(problem, inner_steps=k) - expected).norm().item() for k in (1, 2, 4, 8, 100)]
    assert error[-1] < 1e-10
    assert all(later < earlier for earlier, later in pairwise(error))


def test_inner_steps_climb_the_gradient_norm(make_quadratic):
    problem = make_quadratic(4)
    A, x = problem.A, problem.x.detach()
    inverse = torch.linalg.inv(A @ A)
    norms = []
    for steps in range(1, 8):
        slope = (direction(problem, inner_steps=steps) - A @ x) / (ALPHA * RHO)  # A²y/‖Ay‖ at y = x + δ
        y = hat(inverse @ slope)
        delta = RHO * hat(A @ A @ x)
        for _ in range(steps - 1):
            delta = RHO * hat(A @ A @ (x + delta))
        torch.testing.assert_close(y, hat(x + delta), rtol=0, atol=1e-9)
        norms.append((A @ (x + delta)).norm().item())
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(norms))


@pytest.mark.parametrize("form", ["exact", "finite_difference"])
def test_one_dimension_ends_in_a_two_cycle(form):
    a, lr = 1.7, 0.3
    x = nn.Parameter(torch.tensor([1.3], dtype=torch.float64))
    radius = None if form == "exact" else 0.05
    optimizer = GAM(torch.optim.SGD([x], lr=lr), RHO, ALPHA, form, radius=radius)

    def closure():
        optimizer.zero_grad()
        loss = (a * x**2 / 2).sum()
        if form != "exact":
            loss.backward()
        return loss

    path = [optimizer.step(closure) and x.item() for _ in range(200)]
    amplitude = lr * ALPHA * RHO * a / (2 - lr * a)
    assert abs(path[-1]) == pytest.approx(amplitude, abs=1e-10)
    assert path[-2] == pytest.approx(-path[-1], abs=1e-10)


def test_several_dimensions_end_in_a_two_cycle_along_the_top_eigenvector():
    eigenvalues, lr = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), 0.2
    x = nn.Parameter(torch.tensor([0.3, -0.4, 0.5], dtype=torch.float64))
    optimizer = GAM(torch.optim.SGD([x], lr=lr), RHO, ALPHA)
    for _ in range(300):
        optimizer.step(lambda: (eigenvalues * x**2).sum() / 2)
    expected = torch.tensor([0, 0, lr * ALPHA * RHO * 2 / (2 - lr * 2)], dtype=torch.float64)
    torch.testing.assert_close(x.detach().abs(), expected, rtol=0, atol=1e-10)


def test_the_minimum_is_a_fixed_point():
    x = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = GAM(torch.optim.SGD([x], lr=0.1), RHO, ALPHA)
    optimizer.step(lambda: x.square().sum())
    assert torch.equal(x.detach(), torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("form", ["accelerated_paper", "accelerated_released"])
def test_what_the_accelerated_direction_is(make_quadratic, form):
    """d = g + (1−α)ρ A f̂ + ρ′[α A ĝ + (1−α) A ĝ₂] − γ P⊥ h₋, exactly; where the forms differ is h₋."""
    radius, beta, gamma, alpha = 0.05, 0.4, 0.3, 0.6
    problem = make_quadratic(5)
    A, x = problem.A, problem.x.detach()
    g = A @ x
    slope = hat(radius * A @ hat(g))  # f̂, of a vector as short as h₀, for the sake of ξ
    g2 = A @ (x + RHO * slope)
    plus = g + (1 - alpha) * RHO * A @ slope + radius * A @ (alpha * hat(g) + (1 - alpha) * hat(g2))
    minus = g + (1 - beta) * g2 if form == "accelerated_released" else beta * g + (1 - beta) * g2
    cosine = minus @ plus / (minus.norm() * plus.norm() + XI)
    across = minus - cosine * minus.norm() * hat(plus)
    found = direction(problem, alpha=alpha, form=form, radius=radius, beta=beta, gamma=gamma)
    torch.testing.assert_close(found, plus - gamma * across, rtol=0, atol=1e-12)


def test_the_perpendicular_part_does_not_depend_on_the_length_of_what_it_is_across():
    v, u = torch.randn(2, 1, 30, dtype=torch.float64)
    torch.testing.assert_close(perpendicular(v, u), perpendicular(v, 7 * u), rtol=0, atol=1e-11)
