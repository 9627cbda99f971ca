"""Small smooth losses and matrices with a chosen spectrum."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

SIZES = (4, 5, 5, 2)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def symmetric(generator: torch.Generator) -> Callable[[Sequence[float] | Tensor], Tensor]:
    """A function: eigenvalues (n,) -> a random symmetric matrix (n, n) that has them, in float64."""

    def make(eigenvalues: Sequence[float] | Tensor) -> Tensor:
        values = torch.as_tensor(eigenvalues, dtype=torch.float64)
        n = len(values)
        q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator)).Q
        matrix = (q * values) @ q.mT
        return (matrix + matrix.mT) / 2

    return make


@pytest.fixture(scope="session")
def tanh_loss() -> tuple[Callable[[int, int], Callable[[Tensor], Tensor]], Tensor]:
    """The cross entropy of a tanh MLP with 67 parameters, on examples i..j of 12 divided by 12; and its parameters."""
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(12, SIZES[0], dtype=torch.float64, generator=draw)
    labels = torch.randint(0, SIZES[-1], (12,), generator=draw)
    num_parameters = sum(m * n + n for m, n in itertools.pairwise(SIZES))
    theta = torch.randn(num_parameters, dtype=torch.float64, generator=draw) / 2

    def on(i: int, j: int) -> Callable[[Tensor], Tensor]:
        def loss(theta: Tensor) -> Tensor:
            x, start = inputs[i:j].to(theta), 0
            for m, n in itertools.pairwise(SIZES):
                weight, bias = theta[start : start + m * n].view(n, m), theta[start + m * n : start + m * n + n]
                x, start = torch.tanh(x) @ weight.mT + bias, start + m * n + n
            return F.cross_entropy(x, labels[i:j], reduction="sum") / 12

        return loss

    return on, theta
