"""Symmetric linear operators: the interface through which the estimators of this package use a Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class SymmetricOperator(Protocol):
    """A symmetric map v ↦ Av of flat vectors (p,); a Hessian, a matrix, or a difference of two."""

    @property
    def size(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def matvec(self, vector: Tensor) -> Tensor:
        """v (p,) -> Av (p,), a new tensor that the caller may overwrite."""


@dataclass(frozen=True)
class MatrixOperator:
    """A symmetric matrix (p, p) as an operator."""

    matrix: Tensor

    @property
    def size(self) -> int:
        return self.matrix.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    def matvec(self, vector: Tensor) -> Tensor:
        return self.matrix @ vector


@dataclass(frozen=True)
class DifferenceOperator:
    """v ↦ Av − Bv."""

    first: SymmetricOperator
    second: SymmetricOperator

    @property
    def size(self) -> int:
        return self.first.size

    @property
    def dtype(self) -> torch.dtype:
        return self.first.dtype

    @property
    def device(self) -> torch.device:
        return self.first.device

    def matvec(self, vector: Tensor) -> Tensor:
        return self.first.matvec(vector) - self.second.matvec(vector)


def dense(operator: SymmetricOperator) -> Tensor:
    """The matrix (p, p) of an operator, column by column: p products, for tiny p only."""
    basis = torch.eye(operator.size, dtype=operator.dtype, device=operator.device)
    return torch.stack([operator.matvec(unit) for unit in basis], dim=1)


def random_direction(operator: SymmetricOperator, generator: torch.Generator) -> Tensor:
    """A vector (p,) uniform on the unit sphere, drawn where the generator lives so that all devices agree."""
    vector = torch.randn(operator.size, dtype=operator.dtype, device=generator.device, generator=generator)
    return vector.div_(torch.linalg.vector_norm(vector)).to(operator.device)


def stacked(operator: SymmetricOperator) -> Callable[[Tensor], Tensor]:
    """The operator as a map of several vectors at once, v (k, p) -> Av (k, p), by k products."""

    def matvec(vectors: Tensor) -> Tensor:
        products = [operator.matvec(vector) for vector in vectors]
        return products[0][None] if len(products) == 1 else torch.stack(products)

    return matvec
