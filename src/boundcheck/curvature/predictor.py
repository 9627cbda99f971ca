"""Hessians of a network's predictions, one for each of many inputs at once, and their spectral norms."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from boundcheck.curvature.krylov import Krylov, run


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
    krylov = Krylov(lambda vectors: operator.matvec(vectors).mul_(keep), start.mul_(keep), limit)
    rule = _Settled(tolerance, residual_tolerance)
    run(krylov, rule)  # where a chain breaks down, zeros follow: they change no norm
    return SpectralNorms(rule.norms.to(like), rule.residuals.to(like), krylov.num_products)


class _Settled:
    """Steady norms and small residuals in two steps in a row, for all operators; see `spectral_norms`."""

    norms: Tensor
    residuals: Tensor

    def __init__(self, tolerance: float, residual_tolerance: float) -> None:
        self._tolerance, self._residual_tolerance = tolerance, residual_tolerance
        self._num_steady = torch.zeros(())

    def __call__(self, krylov: Krylov) -> bool:
        values, vectors = torch.linalg.eigh(krylov.rayleigh)  # (n, m), (n, m, m)
        largest = values.abs().argmax(-1)[:, None, None]  # (n, 1, 1)
        vectors = vectors.gather(-1, largest.expand(-1, vectors.shape[1], -1))  # (n, m, 1)
        values = values.gather(-1, largest[:, 0])  # (n, 1)
        norms, residuals = values[:, 0].abs(), krylov.residuals(values, vectors)[:, 0]
        previous = self.norms if krylov.num_products > 1 else torch.inf
        is_steady = (norms - previous).abs() <= self._tolerance / 3 * norms
        is_small = residuals <= self._residual_tolerance * norms
        self._num_steady = torch.where(is_steady & is_small, self._num_steady + 1, 0)
        self.norms, self.residuals = norms, residuals
        return bool(((self._num_steady >= 2) | krylov.has_broken_down).all())
