"""Hessians of predictions, against dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from boundcheck.curvature.predictor import PredictorHessians, spectral_norms

NUM = 4


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Softplus(), nn.Linear(2, 2)).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    rho = torch.randn(NUM, 2, generator=generator, dtype=torch.float64)
    return torch.randn(NUM, 3, generator=generator, dtype=torch.float64), rho


def dense(network, x, rho, theta=None):
    """f, ∇f and ∇²f of ρᵀf at one input, from the network called as it is."""
    named = {name: p.detach() for name, p in network.named_parameters()}
    flat = torch.cat([p.flatten() for p in named.values()]) if theta is None else theta

    def predict(theta):
        parts = theta.split([p.numel() for p in named.values()])
        state = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
        return functional_call(network, state, (x.unsqueeze(0),))[0] @ rho

    flat = flat.clone().requires_grad_()
    value = predict(flat)
    (gradient,) = torch.autograd.grad(value, flat)
    return value.detach(), gradient, torch.autograd.functional.hessian(predict, flat.detach())


def as_matrices(operator):
    size = operator.gradients.shape[1]
    columns = [operator.matvec(unit.repeat(NUM, 1)) for unit in torch.eye(size, dtype=torch.float64)]
    return torch.stack(columns, -1)


def test_values_gradients_and_products(network, data):
    operator = PredictorHessians(network, *data)
    matrices = as_matrices(operator)
    for i, (x, rho) in enumerate(zip(*data, strict=True)):
        value, gradient, hessian = dense(network, x, rho)
        assert operator.values[i].item() == pytest.approx(value.item())
        torch.testing.assert_close(operator.gradients[i], gradient)
        torch.testing.assert_close(matrices[i], hessian, rtol=1e-10, atol=1e-12)


def test_each_input_may_have_its_own_parameters(network, data):
    size = sum(p.numel() for p in network.parameters())
    theta = torch.randn(NUM, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    matrices = as_matrices(PredictorHessians(network, *data, theta))
    for i, (x, rho) in enumerate(zip(*data, strict=True)):
        torch.testing.assert_close(matrices[i], dense(network, x, rho, theta[i])[2], rtol=1e-10, atol=1e-12)


def test_works_in_float64_and_leaves_the_network_alone(network, data):
    exact = PredictorHessians(network, *data).gradients
    network.float().train()
    operator = PredictorHessians(network, *(part.float() for part in data))
    assert operator.gradients.dtype == torch.float64
    torch.testing.assert_close(operator.gradients, exact, rtol=1e-5, atol=1e-6)
    assert network.training
    assert all(p.grad is None and p.dtype == torch.float32 for p in network.parameters())


def test_spectral_norms(network, data):
    operator = PredictorHessians(network, *data)
    found = spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=1e-12, residual_tolerance=1e-10)
    for i, (x, rho) in enumerate(zip(*data, strict=True)):
        eigenvalues = torch.linalg.eigvalsh(dense(network, x, rho)[2])
        norm = eigenvalues.abs().max()
        assert found.norms[i].item() == pytest.approx(norm.item(), rel=1e-10)
        assert found.residuals[i] < 1e-8 * norm
    loose = spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=0.1)
    assert loose.num_matvecs < found.num_matvecs
    assert (loose.norms <= found.norms * (1 + 1e-12)).all()
    for norm, residual, (x, rho) in zip(loose.norms, loose.residuals, zip(*data, strict=True), strict=True):
        eigenvalues = torch.linalg.eigvalsh(dense(network, x, rho)[2])
        assert (eigenvalues.abs() - norm).abs().min() <= residual + 1e-12


def test_the_norm_of_a_block(network, data):
    operator = PredictorHessians(network, *data)
    keep = torch.zeros(operator.gradients.shape[1], dtype=torch.float64)
    keep[:12] = 1  # the first weight
    found = spectral_norms(operator, torch.Generator().manual_seed(0), keep, tolerance=1e-12, residual_tolerance=1e-10)
    for i, (x, rho) in enumerate(zip(*data, strict=True)):
        block = dense(network, x, rho)[2][:12, :12]
        assert found.norms[i].item() == pytest.approx(torch.linalg.matrix_norm(block, 2).item(), rel=1e-10)


def test_a_limit_on_the_products(network, data):
    operator = PredictorHessians(network, *data)
    found = spectral_norms(operator, torch.Generator().manual_seed(0), tolerance=1e-12, max_matvecs=4)
    assert found.num_matvecs == 4


def test_a_prediction_that_is_linear_has_no_hessian(data):
    torch.manual_seed(0)
    operator = PredictorHessians(nn.Linear(3, 2).double(), *data)
    found = spectral_norms(operator, torch.Generator().manual_seed(0))
    assert found.norms.tolist() == [0.0] * NUM
    assert found.residuals.tolist() == [0.0] * NUM
