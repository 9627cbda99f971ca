"""Hessians of a network's predictions, one for each of many inputs at once, and their spectral norms."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class PredictorHessians:
    """∇²_θ (ρᵀf)(θ_i; x_i) for n inputs x_i as one batched operator v (n, p) ↦ Hv (n, p).

    Each input gets its own copy of θ, so that one backward pass through the sum of all predictions gives all n
    gradients, and one through their retained graph all n products. The network is only ever called as a function.

    Args:
        model: the network; θ is its trainable parameters in the order of `named_parameters`. Copied; evaluation mode.
        inputs: x_i (n, *input_shape).
        directions: ρ (n, K), one for each input.
        theta: parameters (n, p) where each input has its own; none: the network's for all.
        dtype: of θ and the products.

    Attributes: values (n,), gradients (n, p), of ρᵀf.
    """

    values: Tensor
    gradients: Tensor

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        directions: Tensor,
        theta: Tensor | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        model = copy.deepcopy(model).to(dtype).eval()
        named = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        sizes = [p.numel() for p in named.values()]
        if theta is None:
            theta = torch.cat([p.flatten() for p in named.values()]).repeat(len(inputs), 1)
        self._theta = theta.detach().to(dtype).clone().requires_grad_()

        def predict(theta: Tensor, x: Tensor, rho: Tensor) -> Tensor:
            pairs = zip(named.items(), theta.split(sizes), strict=True)
            state = {name: part.view(p.shape) for (name, p), part in pairs}
            return functional_call(model, state, (x.unsqueeze(0),))[0] @ rho

        with torch.enable_grad():
            values = vmap(predict)(self._theta, inputs.to(dtype), directions.to(dtype))
            (gradients,) = torch.autograd.grad(values.sum(), self._theta, create_graph=True, materialize_grads=True)
        self.values, self.gradients, self._graph = values.detach(), gradients.detach(), gradients

    def matvec(self, vectors: Tensor) -> Tensor:
        """v (n, p) -> ∇²(ρᵀf)(x_i) v_i (n, p), a tensor of its own."""
        if not self._graph.requires_grad:  # affine in θ
            return torch.zeros_like(vectors)
        with torch.enable_grad():
            slope = (self._graph * vectors).sum()
        (products,) = torch.autograd.grad(slope, self._theta, retain_graph=True, materialize_grads=True)
        return products.contiguous()


@dataclass(frozen=True)
class SpectralNorms:
    """Norms (n,) found from below, residuals (n,): some eigenvalue lies so close to ± the norm; products spent."""

    norms: Tensor
    residuals: Tensor
    num_matvecs: int


def spectral_norms(
    operator: PredictorHessians,
    generator: torch.Generator,
    keep: Tensor | None = None,
    tolerance: float = 1e-3,
    residual_tolerance: float = 0.1,
    max_matvecs: int = 60,
) -> SpectralNorms:
    """‖H_i‖₂ of n symmetric operators at once, by Lanczos with full reorthogonalisation.

    Runs all n in step until each has settled: the largest |Ritz value| moved by less than `tolerance`/3 of itself and
    its residual is below `residual_tolerance` of it, twice in a row. A Ritz value never exceeds the norm.

    Args:
        operator: v (n, p) ↦ Hv (n, p); `gradients` gives the shape.
        generator: draws the start.
        keep: (p,) of 0 and 1: the norm of the block of these coordinates only.
        tolerance: relative change of a norm that counts as settled.
        residual_tolerance: relative size that residuals must reach.
        max_matvecs: products allowed.

    References: Parlett 1998, The symmetric eigenvalue problem, ch. 13.
    """
    like = operator.gradients  # (n, p)
    start = torch.randn(like.shape, dtype=like.dtype, device=generator.device, generator=generator).to(like.device)
    keep = like.new_ones(like.shape[1]) if keep is None else keep
    limit = min(max_matvecs, int(keep.sum()))
    basis = like.new_zeros(len(like), min(limit, 16), like.shape[1])  # (n, j, p)
    basis[:, 0] = _unit(start * keep)[0]
    coefficients = like.new_zeros(len(like), limit + 1, limit + 1)
    previous, steady = like.new_full((len(like),), torch.inf), like.new_zeros(len(like))
    for step in range(limit):
        product = operator.matvec(basis[:, step]) * keep
        beta, coefficients[:, step, step] = _orthogonalise(product, basis[:, : step + 1])
        values, vectors = torch.linalg.eigh(coefficients[:, : step + 1, : step + 1])  # (n, j), (n, j, j)
        largest = values.abs().argmax(-1, keepdim=True)  # (n, 1)
        norms = values.gather(-1, largest).squeeze(-1).abs()
        residuals = beta * vectors[:, -1].gather(-1, largest).squeeze(-1).abs()
        settled = ((norms - previous).abs() <= tolerance / 3 * norms) & (residuals <= residual_tolerance * norms)
        steady = torch.where(settled, steady + 1, 0)
        previous = norms
        if step + 1 == limit or bool(((steady >= 2) | (beta == 0)).all()):
            break
        coefficients[:, step, step + 1] = coefficients[:, step + 1, step] = beta
        if step + 1 == basis.shape[1]:
            basis = torch.cat([basis, torch.zeros_like(basis[:, : limit - step - 1])], 1)
        basis[:, step + 1] = _unit(product)[0]
    return SpectralNorms(norms, residuals, step + 1)


def _orthogonalise(vectors: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Remove from vectors (n, p), in place, their parts in a basis (n, j, p); the norms left, and the last parts."""
    removed = vectors.new_zeros(len(vectors))
    for _ in range(2):
        overlaps = basis @ vectors.unsqueeze(-1)  # (n, j, 1)
        vectors -= (overlaps.mT @ basis).squeeze(-2)
        removed = removed + overlaps[:, -1, 0]
    return _unit(vectors)[1], removed


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (n, p) divided by their norms (n,); those that vanish to rounding become 0."""
    norms = torch.linalg.vector_norm(vectors, dim=-1)
    norms = torch.where(norms > 1e-280, norms, 0.0)
    return torch.where(norms[:, None] > 0, vectors / norms[:, None], 0.0), norms
