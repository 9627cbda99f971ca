"""The ends of the spectra of several symmetric operators at once, in a fixed number of products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


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

    Small networks trained at once are measured at once: a product costs what one of a single network costs, nearly. The
    number of products is fixed, so a warm start is what makes few enough: the vector of the last measurement, with a
    part of the gradient, so that a direction that has become steep since is not missed.

    Args:
        matvec: v (k, p) -> (A_1 v_1 … A_k v_k) (k, p), each A_i symmetric.
        start: first vectors (k, p), none zero.
        num_products: at most p of them are spent.

    Raises:
        ValueError: fewer than one product.
    """
    if num_products < 1:
        raise ValueError(f"num_products: got {num_products}; allowed: >= 1")
    k, p = start.shape
    m = min(num_products, p)
    basis = start.new_zeros(m, k, p)
    alpha, beta = start.new_zeros(m, k), start.new_zeros(m, k)
    q = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
    for j in range(m):
        basis[j] = q
        rest = matvec(q)
        alpha[j] = (q * rest).sum(-1)
        scale = torch.linalg.vector_norm(rest, dim=1)
        for _ in range(2):
            inside = torch.einsum("jkp,kp->jk", basis[: j + 1], rest)
            rest = rest - torch.einsum("jk,jkp->kp", inside, basis[: j + 1])
        beta[j] = torch.linalg.vector_norm(rest, dim=1)
        is_invariant = beta[j] <= 1e-12 * scale
        # an invariant subspace is complete: zero vectors from here on, and a value inside the spectrum for them
        beta[j] = torch.where(is_invariant, 0.0, beta[j])
        alpha[j] = torch.where(torch.linalg.vector_norm(q, dim=1) > 0, alpha[j], alpha[0])
        q = torch.where(is_invariant.unsqueeze(-1), 0.0, rest / beta[j].unsqueeze(-1))
    tridiagonal = torch.diag_embed(alpha.T)  # (k, m, m)
    tridiagonal += torch.diag_embed(beta[:-1].T, 1) + torch.diag_embed(beta[:-1].T, -1)
    is_finite = tridiagonal.isfinite().all(-1).all(-1)
    values, vectors = torch.linalg.eigh(torch.where(is_finite[:, None, None], tridiagonal, 0.0))
    values = torch.where(is_finite[:, None], values, torch.nan)
    top = vectors[:, :, -1]  # (k, m)
    lifted = torch.einsum("jkp,kj->kp", basis, top)
    lifted = lifted / torch.linalg.vector_norm(lifted, dim=1, keepdim=True)
    return StackedExtremes(values[:, -1], beta[-1] * top[:, -1].abs(), lifted, values[:, 0])
