"""Small weight-normalised networks, ordinary and hostile, with derivatives by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, vmap

from boundcheck.theory.weight_norm.activation import SMOOTH
from boundcheck.theory.weight_norm.network import Network, paper_scales


@dataclass
class Batch:
    """B networks of one architecture, each with an input of its own x (B, 1, d)."""

    network: Network
    inputs: Tensor
    sizes: list[torch.Size]  # of W¹ … W^L, gains if trained, v

    def predict(self, theta: Tensor, gains: list[Tensor], x: Tensor) -> Tensor:
        """f(θ; x) of one network, written out."""
        parts = [p.view(s) for p, s in zip(theta.split([s.numel() for s in self.sizes]), self.sizes, strict=True)]
        depth, a = self.network.depth, x
        scales = [*(self.network.scales or paper_scales(self.network.widths))]
        for layer in range(depth):
            rows = parts[layer]
            if self.network.normalised:
                rows = rows / rows.square().sum(1, keepdim=True).sqrt()
            c = parts[depth + layer] if self.network.trainable_gains else gains[layer]
            a = self.network.activation.value(c * scales[layer] * (rows @ a))
        return scales[-1] * parts[-1] @ a

    @property
    def theta(self) -> Tensor:
        gains = self.network.gains if self.network.trainable_gains else []
        return torch.cat([p.flatten(1) for p in [*self.network.weights, *gains, self.network.output]], 1)

    def derivatives(self) -> tuple[Tensor, Tensor, Tensor]:
        """f (B,), ∇f (B, p) and ∇²f (B, p, p)."""
        gains = [self.network.gain(layer) for layer in range(1, self.network.depth + 1)]
        arguments = (self.theta, gains, self.inputs[:, 0])
        return (
            vmap(self.predict)(*arguments),
            vmap(grad(self.predict))(*arguments),
            vmap(hessian(self.predict))(*arguments),
        )


ROWS = ("uniform", "normal", "tiny", "huge", "spread", "one_tiny", "equal", "two", "one_hot")
OUTPUTS = ("normal", "one_hot", "zero", "large", "small")


def draw_rows(kind: str, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Rows (m, n) of one layer."""
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "uniform":
        return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    if kind in ("tiny", "huge"):
        norm = 1e-3 if kind == "tiny" else 100.0
        return norm * normal / normal.norm(dim=1, keepdim=True)
    if kind == "spread":
        return normal * 10 ** (5 * torch.rand(shape[0], 1, generator=generator, dtype=torch.float64) - 3)
    if kind == "one_tiny":
        normal[0] *= 1e-4
    if kind == "equal":
        return normal[:1].expand(shape).clone()
    if kind == "two":
        return normal[torch.arange(shape[0]) % 2]
    if kind == "one_hot":
        return torch.eye(shape[1], dtype=torch.float64)[torch.randint(shape[1], (shape[0],), generator=generator)]
    return normal


def draw_output(kind: str, size: int, generator: torch.Generator) -> Tensor:
    """v (m,)."""
    v = torch.randn(size, generator=generator, dtype=torch.float64)
    if kind == "one_hot":
        return torch.eye(size, dtype=torch.float64)[int(torch.randint(size, (), generator=generator))]
    return {"normal": v / v.norm(), "zero": 0 * v, "large": 100 * v, "small": v / 100}[kind]


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """`make_batch(seed, depth, activation, ...)`: widths 2 to 5; every kind of rows and of output vector by turns."""

    def make(
        seed: int = 0,
        depth: int = 2,
        activation: str = "tanh",
        num: int = 48,
        normalised: bool = True,
        gains: str = "none",
        scales: str = "paper",
        hostile: bool = True,
    ) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        widths = torch.randint(2, 6, (depth + 1,), generator=generator).tolist()
        shapes = list(zip(widths[1:], widths, strict=False))

        def row_kind(i: int, layer: int) -> str:
            return ROWS[(i + 3 * layer) % len(ROWS)] if hostile else "normal"

        weights = [
            torch.stack([draw_rows(row_kind(i, layer), shape, generator) for i in range(num)])
            for layer, shape in enumerate(shapes)
        ]
        kinds = [OUTPUTS[i // 3 % len(OUTPUTS)] if hostile else "normal" for i in range(num)]
        output = torch.stack([draw_output(kind, widths[-1], generator) for kind in kinds])
        factors = None
        if gains != "none":
            factors = [torch.randn(num, m, generator=generator, dtype=torch.float64) for m in widths[1:]]
        network = Network(
            weights,
            output,
            SMOOTH[activation],
            None if scales == "paper" else (10 ** (2 * torch.rand(depth + 1, generator=generator) - 1)).tolist(),
            factors,
            gains == "trainable",
            normalised,
        )
        x = torch.randn(num, 1, widths[0], generator=generator, dtype=torch.float64)
        length = 10 ** (2.6 * torch.rand(num, 1, 1, generator=generator, dtype=torch.float64) - 1.3)
        inputs = x / x.norm(dim=-1, keepdim=True) * (length if hostile else widths[0] ** 0.5)
        trained = [torch.Size((m,)) for m in widths[1:]] if gains == "trainable" else []
        sizes = [torch.Size(shape) for shape in shapes] + trained + [torch.Size((widths[-1],))]
        return Batch(network, inputs, sizes)

    return make
