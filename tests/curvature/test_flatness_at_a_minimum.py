"""A trained network at a minimum: R¹/ρ² is the sharpness there, and R⁰ half of R¹, up to O(ρ)."""

from __future__ import annotations

import pytest
import torch

from boundcheck.curvature.flatness import flatness

SHAPES = [(3, 2), (3,), (1, 3), (1,)]  # tanh, 2 inputs, 3 hidden units: 13 parameters


@pytest.fixture(scope="module")
def minimum():
    """L(θ), θ at a minimum found by damped Newton steps, and the Hessian there."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    y = torch.sin(x.sum(1, keepdim=True))

    def loss(theta):
        parts = [part.view(shape) for part, shape in zip(theta.split([6, 3, 3, 1]), SHAPES, strict=True)]
        outputs = torch.tanh(x @ parts[0].T + parts[1]) @ parts[2].T + parts[3]
        return (outputs - y).square().mean() + 1e-2 * theta.square().sum()

    theta = 0.5 * torch.randn(13, generator=generator, dtype=torch.float64)
    for _ in range(200):
        gradient = torch.autograd.functional.jacobian(loss, theta)
        hessian = torch.autograd.functional.hessian(loss, theta)
        values, vectors = torch.linalg.eigh(hessian)
        step = vectors @ ((vectors.T @ gradient) / values.abs().clamp_min(1e-3))
        size = 1.0
        while size > 1e-6 and loss(theta - size * step) > loss(theta):
            size /= 2
        theta = theta - size * step
    assert torch.autograd.functional.jacobian(loss, theta).norm() < 1e-12
    return loss, theta, torch.autograd.functional.hessian(loss, theta)


@pytest.mark.parametrize("rho", [1e-2, 1e-3, 1e-4])
def test_flatness_tells_the_sharpness(minimum, rho):
    loss, theta, hessian = minimum
    values, vectors = torch.linalg.eigh(hessian)
    assert values[0] > 0
    generator = torch.Generator().manual_seed(0)
    found = flatness([loss], theta, rho, generator, starts=3, iterations=50, top_eigenvector=vectors[:, -1], segment=20)
    assert found.first / rho**2 == pytest.approx(values[-1].item(), rel=10 * rho)
    assert found.zeroth / found.first == pytest.approx(0.5, rel=10 * rho)
    assert found.first / rho**2 != pytest.approx(values[-2].item(), rel=0.1), "the next eigenvalue is another"
