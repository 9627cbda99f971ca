"""The ends of the spectra of several symmetric operators at once, in a fixed number of products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov, run


class StackedExtremes(NamedTuple):
    """For each of k operators the largest Ritz value with its residual and unit vector, and the smallest Ritz value.

    Some eigenvalue lies within `residual` of `largest`, and the largest one is at least `largest`.
    """

    largest: Tensor  # (k,)
    residual: Tensor  # (k,)
    vector: Tensor  # (k, p)
    smallest: Tensor  # (k,)


def stacked_extremes(matvec: Callable[[Tensor], Tensor], start: Tensor, num_products: int) -> StackedExtremes:
    """Lanczos with full reorthogonalisation on k operators, one product of all of them at a time.

    Small networks trained at once are measured at once: one product of all costs little more than one of a single
    network. The number of products is fixed, so a warm start is what makes few enough: the vector of the last
    measurement, with a part of the gradient, so that a direction that has become steep since is not missed. Where the
    rows span an invariant subspace, a fixed vector begins a new chain.

    Args:
        matvec: v (k, p) -> (A_1 v_1 … A_k v_k) (k, p), a tensor of its own, each A_i symmetric.
        start: first vectors (k, p), none zero.
        num_products: at most p of them are spent.

    Returns: NaN for an operator with a product that is not finite.

    Raises:
        ValueError: fewer than one product.
    """
    if num_products < 1:
        raise ValueError(f"num_products: got {num_products}; allowed: >= 1")

    def fresh() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(start.shape[1], dtype=start.dtype, generator=generator).expand(start.shape)

    krylov = Krylov(matvec, start, num_products)
    run(krylov, fresh=fresh)
    rayleigh = krylov.rayleigh
    is_finite = rayleigh.isfinite().all(-1).all(-1)
    values, vectors = torch.linalg.eigh(torch.where(is_finite[:, None, None], rayleigh, 0.0))
    values = torch.where(is_finite[:, None], values, torch.nan)
    largest, top = values[:, -1:], vectors[:, :, -1:]
    found = (values[:, -1], krylov.residuals(largest, top)[:, 0], krylov.lift(top)[:, 0], values[:, 0])
    return StackedExtremes(*(part.to(start) for part in found))
