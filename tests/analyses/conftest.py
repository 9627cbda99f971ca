"""Tiny networks and data; the Hessian as a dense matrix, from the equations and not from the package."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from boundcheck.contracts import Objective, Split
from boundcheck.objectives import CrossEntropy


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def objective() -> CrossEntropy:
    return CrossEntropy(label_smoothing=0.1)


@pytest.fixture
def train(generator: torch.Generator) -> Split:
    return Split(torch.randn(20, 1, 4, 4, generator=generator), torch.randint(0, 3, (20,), generator=generator))


@pytest.fixture
def mlp() -> nn.Module:
    """16-3-3-3 with tanh: 75 parameters."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))


@pytest.fixture
def convolution() -> nn.Module:
    """A convolution, BatchNorm with statistics of its own, and a linear layer: 54 parameters."""
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(3)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.uniform_(0.5, 2)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), norm, nn.GELU(), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Linear(6, 3)
    )


@pytest.fixture
def loss_of() -> Callable[[nn.Module, Objective, Split], tuple[Callable[[Tensor], Tensor], Tensor]]:
    """A function: network, objective, split -> L(θ) in float64 with the network's own mode, and θ; written plainly."""

    def make(model: nn.Module, objective: Objective, split: Split) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        model = copy.deepcopy(model).double()
        split = Split(split.inputs.double(), split.labels)
        named = {name: value.detach().clone() for name, value in model.named_parameters()}

        def loss(theta: Tensor) -> Tensor:
            state, start = {}, 0
            for name, value in named.items():
                state[name] = theta[start : start + value.numel()].reshape(value.shape)
                start += value.numel()
            return objective.losses(functional_call(model, state, (split.inputs,)), objective.targets(split))

        return loss, torch.cat([value.reshape(-1) for value in named.values()])

    return make
