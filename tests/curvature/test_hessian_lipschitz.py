from __future__ import annotations

import pytest
import torch

from boundcheck.curvature.hessian_lipschitz import hessian_lipschitz


def test_a_quadratic_has_none(symmetric, generator):
    matrix = symmetric([3.0, 1, -2])
    delta = torch.ones(3, dtype=torch.float64)
    found = hessian_lipschitz(lambda x: x @ matrix @ x / 2, delta, [delta, 0 * delta], generator)
    assert found == pytest.approx(0, abs=1e-14)
    assert hessian_lipschitz(lambda x: x @ matrix @ x / 2, delta, [], generator) == 0


def test_the_tight_example(generator):
    def loss(x):
        return 1.3 * x[0] ** 2 / 2 + 0.7 * x[0].abs() ** 3 / 6

    found = hessian_lipschitz(loss, torch.zeros(1).double(), [torch.full((1,), 0.1).double()], generator)
    assert found == pytest.approx(0.7, rel=1e-12)


def test_it_is_the_norm_of_the_difference_of_dense_hessians(tanh_loss, generator):
    on, theta = tanh_loss
    hessian = torch.autograd.functional.hessian
    deltas = [0.3 * torch.randn(67, dtype=torch.float64, generator=generator) for _ in range(3)]
    expected = max(
        (torch.linalg.matrix_norm(hessian(on(0, 12), theta + d) - hessian(on(0, 12), theta), 2) / d.norm()).item()
        for d in deltas
    )
    found = hessian_lipschitz([on(0, 4), on(4, 12)], theta, deltas, generator, tolerance=1e-6)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_remainder_counts_too(generator):
    """Along e₁ the Hessian comes back at the end of the step: the difference is 0 there, the remainder is not."""

    def loss(x):
        return torch.cos(x[0])

    turn = torch.tensor([2 * torch.pi, 0.0], dtype=torch.float64)
    found = hessian_lipschitz(loss, torch.zeros(2, dtype=torch.float64), [turn], generator)
    assert found == pytest.approx(1 / torch.pi, rel=1e-12)
    assert found <= 1  # γ₂ of the cosine
