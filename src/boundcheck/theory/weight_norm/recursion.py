"""From norms of each layer of a weight-normalised network to bounds on its predictor's gradient and Hessian.

The Hessian's blocks by the layers' parameters have norms at most M_kl; its own norm is at most that of the matrix M.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

UNIT_BEND = 2 / math.sqrt(3)  # sup ‖u″‖ ‖w‖² of w ↦ w/‖w‖ along unit directions


class Bounds(NamedTuple):
    """Upper bounds on ‖∇_θ f(θ; x)‖₂, ‖∇²_θ f(θ; x)‖₂ and ‖a^L‖₂, in the shape of what they were computed from."""

    gradient: Tensor
    hessian: Tensor
    last: Tensor


@dataclass(frozen=True)
class LayerNorms:
    """Upper bounds for each layer at the places 1 … L of lists (`a` from 0), all of broadcastable shape.

    Attributes: s scales (1 … L+1); `transfer` ≥ ‖T_l‖₂; `a` ≥ ‖a^l‖₂; `slope` ≥ max|φ′(z^l)|; `bend` ≥ max|φ″(z^l)|;
    `b_max` ≥ ‖b^l‖_∞; `g` ≥ ‖g^l‖₂; `g_max` ≥ ‖g^l‖_∞; `turn` ≥ the Jacobian of w ↦ c w/‖w‖ (and of c where it is
    trained), `turn_bend` ≥ its second derivative.
    """

    s: Sequence[float]
    transfer: list[Tensor]
    a: list[Tensor]
    slope: list[Tensor]
    bend: list[Tensor]
    b_max: list[Tensor]
    g: list[Tensor]
    g_max: list[Tensor]
    turn: list[Tensor]
    turn_bend: list[Tensor]


def spectral_norm(matrices: Tensor) -> Tensor:
    """‖X‖₂ (...) of matrices (..., m, n), from the eigenvalues of the smaller of XXᵀ and XᵀX; infinite if X is not."""
    gram = matrices @ matrices.mT if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT @ matrices
    finite = gram.isfinite().all(-1).all(-1)
    norms = torch.linalg.eigvalsh(torch.where(finite[..., None, None], gram, 0.0))[..., -1].clamp_min(0).sqrt()
    return torch.where(finite, norms, torch.inf)


def turns(
    rows: Sequence[Tensor], gains: Sequence[Tensor], trainable: bool, normalised: bool = True
) -> tuple[list[Tensor], list[Tensor]]:
    """Bounds on the first and second derivative of (w, c) ↦ c w/‖w‖ at least row norms r and largest gains c.

    Statement: max(c/r, 1 [trained]) and 2B²/√(4B² − A²) with A = c/r², B = √(A² + 1/r² [trained]), which is (2/√3) c/r²
    without training of c. Nothing is divided without normalisation: 1 and 0.
    """
    if not normalised:
        return [torch.ones_like(r) for r in rows], [torch.zeros_like(r) for r in rows]
    turn, turn_bend = [], []
    for r, c in zip(rows, gains, strict=True):
        turn.append(torch.maximum(c / r, torch.ones_like(r)) if trainable else c / r)
        direct = c / r**2
        both = (direct**2 + 1 / r**2).sqrt() if trainable else direct
        turn_bend.append(2 * both**2 / (4 * both**2 - direct**2).sqrt() if trainable else UNIT_BEND * direct)
    return turn, turn_bend


def block_norms(norms: LayerNorms) -> Bounds:
    """‖∇f‖ and ‖∇²f‖₂ ≤ ‖M‖₂ from norms of each layer.

    Statement: with ε_k = s_k A_{k−1} turn_k, ζ_{k,k} = 1, ζ_{l,k} = ζ_{l−1,k} slope_{l−1} ‖T_l‖ and
    q_k = Σ_{l≥k} ζ²_{l,k} ‖b^l‖_∞ bend_l, the blocks of the Hessian have norms of at most
        M_kk  = ε_k² q_k + s_k A_{k−1} ‖g^k‖_∞ turn_bend_k
        M_kl  = ε_k ε_l ζ_{l,k} q_l + s_l ‖g^l‖₂ turn_l slope_{l−1} ζ_{l−1,k} ε_k   (k < l)
        M_kv  = s_{L+1} slope_L ζ_{L,k} ε_k,  M_vv = 0.
    """
    s, depth = norms.s, len(norms.s) - 2
    layers = range(1, depth + 1)
    epsilon = {k: s[k] * norms.a[k - 1] * norms.turn[k] for k in layers}
    zeta = {(k, k): torch.ones_like(epsilon[k]) for k in layers}
    for k in layers:
        for layer in range(k + 1, depth + 1):
            zeta[layer, k] = zeta[layer - 1, k] * norms.slope[layer - 1] * norms.transfer[layer]
    curvature = {
        k: sum((zeta[layer, k] ** 2 * norms.b_max[layer] * norms.bend[layer] for layer in range(k, depth + 1)), 0.0)
        for k in layers
    }
    entries: dict[tuple[int, int], Tensor] = {}
    for k in layers:
        entries[k, k] = epsilon[k] ** 2 * curvature[k] + s[k] * norms.a[k - 1] * norms.g_max[k] * norms.turn_bend[k]
        for layer in range(k + 1, depth + 1):
            through = norms.slope[layer - 1] * zeta[layer - 1, k] * epsilon[k]
            entries[k, layer] = epsilon[k] * epsilon[layer] * zeta[layer, k] * curvature[layer]
            entries[k, layer] = entries[k, layer] + s[layer] * norms.g[layer] * norms.turn[layer] * through
        entries[k, depth + 1] = s[-1] * norms.slope[depth] * zeta[depth, k] * epsilon[k]
    squares = (s[-1] * norms.a[depth]) ** 2 + sum(((norms.g[k] * epsilon[k]) ** 2 for k in layers), 0.0)
    return Bounds(squares.sqrt(), norm_of_blocks(entries, depth + 1), norms.a[depth])


def norm_of_blocks(entries: dict[tuple[int, int], Tensor], size: int) -> Tensor:
    """‖M‖₂ of the symmetric nonnegative matrix with these entries at places (k, l), 1 ≤ k ≤ l ≤ size; others are 0."""
    shape = torch.broadcast_shapes(*(entry.shape for entry in entries.values()))
    matrix = next(iter(entries.values())).new_zeros(*shape, size, size)
    for (k, layer), entry in entries.items():
        matrix[..., k - 1, layer - 1] = entry
        matrix[..., layer - 1, k - 1] = entry
    finite = matrix.isfinite().all(-1).all(-1)
    norm = torch.linalg.eigvalsh(torch.where(finite[..., None, None], matrix, 0.0))[..., -1]
    return torch.where(finite, norm, torch.inf)
