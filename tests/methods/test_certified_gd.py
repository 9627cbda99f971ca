"""Gradient descent with the step that the theory certifies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.methods.certified_gd import CertifiedGD, gradient_norms_by_layer
from boundcheck.models import MLP, WeightNormMLP
from boundcheck.models.stacking import stack, unstack
from boundcheck.objectives import Square
from boundcheck.registry import build
from boundcheck.theory.weight_norm.training import certified_step

VARIANTS = [
    {},
    {"activation": "softplus"},
    {"row_norm": 0.05},
    {"gains": "trainable"},
    {"gains": "fixed", "gain": 2.0},
    {"scales": "plain"},
    {"normalised": False, "row_norm": 2.0},
    {"outputs": 1},
]
DIMENSION, NUM_OUTPUTS, NUM = 6, 3, 20


def networks(num, outputs=NUM_OUTPUTS, **settings):
    model = WeightNormMLP(**({"depth": 2, "width": 5} | settings))
    return [model.build((DIMENSION,), outputs, torch.Generator().manual_seed(i)).double() for i in range(num)]


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(NUM, DIMENSION, generator=generator, dtype=torch.float64)
    return x * math.sqrt(DIMENSION) / x.norm(dim=1, keepdim=True), torch.randint(3, (NUM,), generator=generator)


def step(network, data, optimizer):
    def closure():
        optimizer.zero_grad()
        outputs = network(data[0])
        labels = data[1] % 2 if outputs.shape[-1] == 1 else data[1]
        loss = Square().losses(outputs, labels).sum()
        loss.backward()
        return loss

    return optimizer.step(closure).item()


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("lr", [1.0, 1.9])
def test_every_step_decreases_the_loss_as_certified(settings, lr, data):
    (network,) = networks(1, **settings)
    optimizer = CertifiedGD(network, lr=lr)
    loss = step(network, data, optimizer)
    for _ in range(20):
        size = optimizer.step_size.item()
        gradient = math.sqrt(sum(p.grad.square().sum().item() for p in network.parameters()))
        after = step(network, data, optimizer)
        assert after <= loss - size * (1 - lr / 2) * gradient**2 + 1e-15
        assert after < loss
        loss = after


def test_the_step_is_that_of_the_theory(data):
    (network,) = networks(1)
    start = [p.detach().clone() for p in network.parameters()]
    theory, loss = network.theory(), Square().losses(network(data[0]), data[1]).detach()
    optimizer = CertifiedGD(network, lr=0.5)
    step(network, data, optimizer)
    norms = [p.grad.norm() for p in network.parameters()]
    expected, _ = certified_step(theory, theory.output, math.sqrt(DIMENSION), norms, loss.sqrt(), omega=0.5)
    assert optimizer.step_size.item() == pytest.approx(expected.item(), rel=1e-12)
    for p, old in zip(network.parameters(), start, strict=True):
        torch.testing.assert_close(p.detach(), old - expected * p.grad, rtol=1e-12, atol=0)


def test_the_less_is_left_of_the_loss_the_longer_is_the_step(data):
    """β = 2F² + 2RH with R = √L; with what the network could output as R it would stay where it was."""
    (network,) = networks(1, activation="softplus", row_norm=0.2)
    data, optimizer, found = (data[0], 0 * data[1]), CertifiedGD(network), []
    for _ in range(100):
        theory, unknown = network.theory(), torch.tensor(math.inf, dtype=torch.float64)
        loss = step(network, data, optimizer)
        norms = gradient_norms_by_layer(network)
        shorter, _ = certified_step(theory, theory.output, math.sqrt(DIMENSION), norms, unknown)
        found.append((loss, optimizer.step_size.item() / shorter.item()))
    assert found[-1][0] < 0.1 * found[0][0]
    assert 1 < 2 * found[0][1] < found[-1][1]


def test_without_a_closure_the_residual_is_what_the_network_can_output(data):
    (network,) = networks(1)
    theory, optimizer = network.theory(), CertifiedGD(network)
    Square().losses(network(data[0]), data[1]).backward()
    norms = gradient_norms_by_layer(network)
    expected, _ = certified_step(
        theory, theory.output, math.sqrt(DIMENSION), norms, torch.tensor(math.inf, dtype=torch.float64)
    )
    assert optimizer.step() is None
    assert optimizer.step_size.item() == pytest.approx(expected.item(), rel=1e-12)
    assert not network._forward_hooks


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_a_stack_of_three_equals_three_single_runs(settings, data):
    alone = networks(3, **settings)
    together = stack(alone)
    optimizer = CertifiedGD(together, num_stacked=3)
    optimizers = [CertifiedGD(network) for network in alone]
    for _ in range(5):
        step(together, data, optimizer)
        for network, single in zip(alone, optimizers, strict=True):
            step(network, data, single)
    sizes = torch.cat([single.step_size for single in optimizers])
    torch.testing.assert_close(optimizer.step_size, sizes, rtol=1e-12, atol=0)
    for network, other in zip(alone, unstack(together), strict=True):
        for p, q in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_a_slice_that_diverges_leaves_the_others_alone(data):
    alone = networks(2)
    together = stack(alone)
    with torch.no_grad():
        together.output[1, 0, 0] = math.inf
    optimizer, single = CertifiedGD(together, num_stacked=2), CertifiedGD(alone[0])
    for _ in range(3):
        step(together, data, optimizer)
        step(alone[0], data, single)
    torch.testing.assert_close(together.output[0], alone[0].output, rtol=0, atol=1e-12)


def test_gradient_norms_by_layer(data):
    (network,) = networks(1, gains="trainable")
    Square().losses(network(data[0]), data[1]).backward()
    parts = [[layer.weight.grad, layer.gain.grad] for layer in network.layers] + [[network.output.grad]]
    expected = [math.sqrt(sum(part.square().sum().item() for part in layer)) for layer in parts]
    assert [norm.item() for norm in gradient_norms_by_layer(network)] == pytest.approx(expected)


def test_the_method(data):
    method = build(METHODS, {"kind": "certified_gd", "lr": 0.5})
    (network,) = networks(1)
    assert method.prepare(network) is network
    assert (method.num_gradients, method.second_order, method.lr) == (1, False, 0.5)
    optimizer = method.optimizer(network)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert method.skips(WeightNormMLP(depth=1, width=2)) is None
    assert "certified" in method.skips(MLP(depth=1, width=2))
    other = build(METHODS, {"kind": "certified_gd", "input_norm": 5.0}).optimizer(network)
    assert (other.input_norm, optimizer.input_norm) == (5.0, math.sqrt(DIMENSION))


def test_refusals():
    with pytest.raises(ValueError, match="network: got Linear; allowed: WeightNormNetwork"):
        CertifiedGD(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"lr: got 2; allowed: a number in \(0, 2\)"):
        build(METHODS, {"kind": "certified_gd", "lr": 2})
    with pytest.raises(ValueError, match="input_norm: got 0"):
        build(METHODS, {"kind": "certified_gd", "input_norm": 0})
