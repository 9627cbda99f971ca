"""Hessian-vector products of a loss L(θ) of one flat vector, by double backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from boundcheck.contracts import LossFunction


class HessianOperator:
    """The Hessian H = ∇²L(θ) of L = Σ_c L_c as a symmetric operator.

    Hv = ∇_θ ⟨∇L(θ), v⟩: the gradient is built once with its graph, and every product is one backward pass through
    that graph. A product costs as much as 1.3 gradients for a wide MLP and 2.6 for a ResNet if the graph is kept; 2.3
    and 3.5 if it is rebuilt. `torch.autograd.grad` does not set `.grad`, so the graph is freed with the operator.

    Args:
        losses: L, or the chunks L_c whose sum is L.
        theta: θ (p,); copied.
        retain: keep the graph of every chunk (fast; memory of several forward passes over all chunks), or rebuild one
            chunk at a time for each product.

    Attributes:
        loss: L(θ) ().
        gradient: ∇L(θ) (p,).

    References: Pearlmutter 1994, Fast exact multiplication by the Hessian.
    """

    loss: Tensor
    gradient: Tensor

    def __init__(self, losses: LossFunction | Sequence[LossFunction], theta: Tensor, retain: bool = True) -> None:
        self._losses = as_sequence(losses)
        self._theta = theta.detach().clone().requires_grad_()
        self._retain = retain
        self._graphs: list[Tensor] = []
        self.loss, self.gradient = theta.new_zeros(()), torch.zeros_like(self._theta, requires_grad=False)
        for chunk in self._losses:
            value, gradient = _differentiate(chunk, self._theta, create_graph=retain)
            self.loss += value
            self.gradient += gradient.detach()
            if retain:
                self._graphs.append(gradient)

    @property
    def size(self) -> int:
        return self._theta.numel()

    @property
    def dtype(self) -> torch.dtype:
        return self._theta.dtype

    @property
    def device(self) -> torch.device:
        return self._theta.device

    def matvec(self, vector: Tensor) -> Tensor:
        """v (p,) -> Hv (p,)."""
        products = (_backward(gradient, self._theta, vector, self._retain) for gradient in self._gradients())
        total = next(products)
        for product in products:
            total += product
        return total

    def _gradients(self) -> Iterator[Tensor]:
        """∇L_c (p,) with its graph, chunk by chunk."""
        if self._retain:
            yield from self._graphs
        else:
            for chunk in self._losses:
                yield _differentiate(chunk, self._theta, create_graph=True)[1]


def loss_and_gradient(losses: LossFunction | Sequence[LossFunction], theta: Tensor) -> tuple[Tensor, Tensor]:
    """L(θ) () and ∇L(θ) (p,) of L = Σ_c L_c, one chunk's graph at a time."""
    leaf = theta.detach().requires_grad_()
    loss, gradient = theta.new_zeros(()), torch.zeros_like(theta, requires_grad=False)
    for chunk in as_sequence(losses):
        chunk_loss, chunk_gradient = _differentiate(chunk, leaf, create_graph=False)
        loss += chunk_loss
        gradient += chunk_gradient
    return loss, gradient


def as_sequence(losses: LossFunction | Sequence[LossFunction]) -> Sequence[LossFunction]:
    """The chunks of a loss: itself if it is one function.

    Raises:
        ValueError: there is no chunk.
    """
    chunks = (losses,) if callable(losses) else tuple(losses)
    if not chunks:
        raise ValueError("losses: got none; allowed: one function or a sequence of at least one")
    return chunks


def _differentiate(loss: LossFunction, theta: Tensor, create_graph: bool) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        value = loss(theta)
        (gradient,) = torch.autograd.grad(value, theta, create_graph=create_graph, materialize_grads=True)
    return value.detach(), gradient


def _backward(gradient: Tensor, theta: Tensor, vector: Tensor, retain_graph: bool) -> Tensor:
    if not gradient.requires_grad:  # L_c is affine in θ
        return torch.zeros_like(vector)
    with torch.enable_grad():  # ⟨∇L, v⟩ and not `grad_outputs`, whose first use imports sympy (0.7 s)
        slope = torch.dot(gradient, vector)
    (product,) = torch.autograd.grad(slope, theta, retain_graph=retain_graph, materialize_grads=True)
    return product.contiguous()  # autograd may expand a scalar
