"""A trained network at a minimum: R¹/ρ² falls to the sharpness with ρ, within γ₂ρ/2, and R⁰ to half of R¹."""

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


def hessian_change(loss, theta, hessian, delta):
    """γ₂ on the way to θ + δ: the largest ‖H(θ + tδ) − H(θ)‖/(t‖δ‖)."""
    changes = []
    for t in torch.linspace(0.02, 1, 50, dtype=torch.float64):
        change = torch.autograd.functional.hessian(loss, theta + t * delta) - hessian
        changes.append(torch.linalg.matrix_norm(change, 2).item() / (t * delta.norm()).item())
    return max(changes)


def test_flatness_tells_the_sharpness(minimum):
    loss, theta, hessian = minimum
    values, vectors = torch.linalg.eigh(hessian)
    sharpness = values[-1].item()
    assert values[0] > 0
    assert sharpness > 1.5 * values[-2].item(), "the next eigenvalue is another"
    excesses = []
    for rho in (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4):
        generator = torch.Generator().manual_seed(0)
        found = flatness([loss], theta, rho, generator, iterations=200, top_eigenvector=vectors[:, -1])
        gamma = hessian_change(loss, theta, hessian, found.maximiser)
        gamma_zeroth = hessian_change(loss, theta, hessian, found.zeroth_maximiser)
        excesses.append(found.first / rho**2 - sharpness)
        assert 0 < excesses[-1] <= gamma * rho / 2
        assert abs(found.zeroth / rho**2 - sharpness / 2) <= gamma_zeroth * rho / 6
    assert excesses == sorted(excesses, reverse=True)
    assert excesses[-1] < 1e-4 * sharpness
