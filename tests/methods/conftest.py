"""A small network as a function of its flat parameters, for comparing optimizers with equations written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


ACTIVATIONS = {"tanh": nn.Tanh, "gelu": nn.GELU}


@dataclass
class Network:
    """A network on one of several mini-batches, as a torch module with a closure and as L(θ) of a flat θ (p,)."""

    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    batch: int = 0

    def closure(self, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
        """The closure that the optimizer's order asks for."""

        def evaluate() -> Tensor:
            optimizer.zero_grad()
            inputs, labels = self.batches[self.batch]
            loss = F.cross_entropy(self.model(inputs), labels)
            if not getattr(optimizer, "second_order", False):
                loss.backward()
            return loss

        return evaluate

    def theta(self) -> Tensor:
        return parameters_to_vector(self.model.parameters()).detach().clone()

    def direction(self) -> Tensor:
        """What the optimizer left in the gradients (p,)."""
        return torch.cat([p.grad.flatten() for p in self.model.parameters()]).clone()

    def loss(self, theta: Tensor) -> Tensor:
        inputs, labels = self.batches[self.batch]
        named, start = {}, 0
        for name, parameter in self.model.named_parameters():
            named[name] = theta[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        return F.cross_entropy(functional_call(self.model, named, (inputs,)), labels)

    def gradient(self, theta: Tensor) -> Tensor:
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self.loss(theta), theta)[0]

    def hessian(self, theta: Tensor) -> Tensor:
        return torch.autograd.functional.hessian(self.loss, theta.detach(), vectorize=True)


@pytest.fixture
def make_network() -> Callable[..., Network]:
    """`make_network(activation, dtype, num_batches)`: 5 inputs, 6 hidden units, 4 classes, 12 examples a batch."""

    def make(activation: str = "tanh", dtype: torch.dtype = torch.float64, num_batches: int = 3) -> Network:
        generator = torch.Generator().manual_seed(5)
        model = nn.Sequential(nn.Linear(5, 6), ACTIVATIONS[activation](), nn.Linear(6, 4)).to(dtype)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        batches = [
            (
                torch.randn(12, 5, generator=generator, dtype=torch.float64).to(dtype),
                torch.randint(4, (12,), generator=generator),
            )
            for _ in range(num_batches)
        ]
        return Network(model, batches)

    return make


@dataclass
class Quadratic:
    """L(x) = ½ xᵀA x on one parameter x (d,), with A positive definite."""

    A: Tensor
    x: nn.Parameter

    def closure(self, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
        def evaluate() -> Tensor:
            optimizer.zero_grad()
            loss = self.x @ self.A @ self.x / 2
            if not getattr(optimizer, "second_order", False):
                loss.backward()
            return loss

        return evaluate


@pytest.fixture
def make_quadratic() -> Callable[..., Quadratic]:
    """`make_quadratic(seed, dimension)`: eigenvalues in [0.1, 3]."""

    def make(seed: int = 0, dimension: int = 7) -> Quadratic:
        generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator, dtype=torch.float64))
        eigenvalues = torch.linspace(0.1, 3, dimension, dtype=torch.float64)
        A = basis @ torch.diag(eigenvalues) @ basis.mT
        return Quadratic((A + A.mT) / 2, nn.Parameter(torch.randn(dimension, generator=generator, dtype=torch.float64)))

    return make
