"""SGD and AdamW against their equations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.registry import build


def train(variant, gradients):
    theta = nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer = build(METHODS, variant).optimizer(nn.ParameterList([theta]))
    for gradient in gradients:
        theta.grad = gradient.clone()
        optimizer.step()
    return theta.detach()


@pytest.fixture
def gradients():
    return torch.randn(6, 4, dtype=torch.float64)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.3)])
def test_sgd(gradients, nesterov, momentum, dampening):
    if nesterov and (dampening or not momentum):
        pytest.skip("refused")
    lr, decay = 0.1, 0.01
    theta, velocity = torch.ones(4, dtype=torch.float64), None
    for gradient in gradients:
        g = gradient + decay * theta
        velocity = g if velocity is None else momentum * velocity + (1 - dampening) * g
        theta = theta - lr * (g + momentum * velocity if nesterov else velocity)
    variant = {"kind": "sgd", "lr": lr, "momentum": momentum, "nesterov": nesterov}
    found = train(variant | {"weight_decay": decay, "dampening": dampening}, gradients)
    torch.testing.assert_close(found, theta, rtol=0, atol=1e-14)


def test_adamw(gradients):
    lr, (beta1, beta2), eps, decay = 0.1, (0.8, 0.95), 1e-3, 0.3
    theta = torch.ones(4, dtype=torch.float64)
    mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        theta = (1 - lr * decay) * theta
        mean, square = beta1 * mean + (1 - beta1) * g, beta2 * square + (1 - beta2) * g**2
        theta = theta - lr * mean / (1 - beta1**t) / ((square / (1 - beta2**t)).sqrt() + eps)
    variant = {"kind": "adamw", "lr": lr, "betas": [beta1, beta2], "eps": eps, "weight_decay": decay}
    torch.testing.assert_close(train(variant, gradients), theta, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_channels_last_weights_take_the_gradients_that_backward_leaves(kind):
    """The fused kernels read memory in order: weights and gradients must lie in the same one."""
    ends = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 3)]
        model = nn.Sequential(*layers).double().to(memory_format=memory_format)
        inputs = torch.randn(5, 3, 6, 6, dtype=torch.float64).to(memory_format=memory_format)
        for variant in ({"kind": kind, "lr": 0.1}, {"kind": "sam", "rho": 0.1, "base": {"kind": kind, "lr": 0.1}}):
            optimizer = build(METHODS, variant).optimizer(model)

            def closure(optimizer=optimizer, model=model, inputs=inputs):
                optimizer.zero_grad()
                loss = model(inputs).square().mean()
                loss.backward()
                return loss

            for _ in range(3):
                optimizer.step(closure)
        ends.append(nn.utils.parameters_to_vector(p.contiguous() for p in model.parameters()).detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)
