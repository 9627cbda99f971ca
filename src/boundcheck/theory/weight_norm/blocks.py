"""The tightest bound on the Hessian of a weight-normalised predictor: from the norms of its blocks, none ever formed.

With J^{l←k} = ∂z^l/∂z^k = T_l D_{l−1} ⋯ T_{k+1} D_k, D_l = diag φ′(z^l), Q^k = ∂²f/∂(z^k)² (`second_derivatives`) and
ε_k = ‖∂z^k/∂(row of θ)‖ (`row_sensitivity`). The blocks themselves: `weight_norm.hessian`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boundcheck.curvature.spectral_bound import EXACT_SIZE, largest_eigenvalue_bound, norm_bound, symmetric_norm_bound
from boundcheck.theory.weight_norm.bounds import layer_bounds
from boundcheck.theory.weight_norm.network import Passes, gradient_norm, row_sensitivity
from boundcheck.theory.weight_norm.recursion import Bounds, norm_of_blocks

AT_ONCE = 2**20  # numbers in the m×m matrices that are worked on together: as many as caches hold
NEGLIGIBLE = 2.0**-11  # a term that is smaller than this share of what it is added to needs no tighter bound


def block_bounds(at: Passes) -> Bounds:
    """B2: at (θ, x), from the norms of the Hessian's blocks.

    Statement: ‖∇²f‖₂ ≤ ‖M‖₂ with
        M_kk = ‖diag(ε_k) Q^k diag(ε_k)‖₂ + s_k max_i |g_i| χ_i,
        M_kl = ‖diag(ε_l) Q^l J^{l←k} diag(ε_k)‖₂ + s_l ‖Cᵀ G C‖₂^{1/2},  k < l,
        M_kv = s_{L+1} ‖D_L J^{L←k} diag(ε_k)‖₂,
    where C = D_{l−1} J^{(l−1)←k} diag(ε_k), G = Σ_i g_i² ((c_i/r_i)² P_i + u_iu_iᵀ [trained c_i]), and
    χ_i = (y + √(y² + 4w²))/2 is the norm of the second derivative of (w, c) ↦ c u·a: y = |c_i u_i·a|/r_i²,
    w = ‖P_i a‖ √((c_i/r_i²)² + 1/r_i² [trained]). Without normalisation χ = 0 and G = Σ g_i² I.
    Norms of large matrices are bounded from above, up to a thousandth too large (`spectral_bound`), B2 never above B1.
    Cost: about L² norms of m×m matrices for each input.

    Returns: the exact ‖∇f‖ and ‖a^L‖, and B2 (..., n).
    """
    width, inputs = max(at.network.widths[1:]), at.f.shape[-1]
    together = max(1, AT_ONCE * inputs // max(1, width**2 * at.f.numel()))
    parts = [_hessian_bound(at.part(slice(first, first + together))) for first in range(0, inputs, together)]
    hessian = torch.cat(parts, dim=-1)
    if width > EXACT_SIZE:
        hessian = torch.minimum(hessian, layer_bounds(at).hessian)
    return Bounds(gradient_norm(at), hessian, torch.linalg.vector_norm(at.a[-1], dim=-1))


def _hessian_bound(at: Passes) -> Tensor:
    """‖M‖₂ (..., n) of `block_bounds`."""
    depth, s = at.network.depth, at.network.s
    epsilon = [row_sensitivity(at, k) for k in range(1, depth + 1)]  # (..., n, m_k)
    second = second_derivatives(at)
    entries: dict[tuple[int, int], Tensor] = {}
    for k in range(1, depth + 1):
        rows = epsilon[k - 1]
        turned = s[k] * _row_bends(at, k)
        entries[k, k] = turned + _scaled_norm(second[k], rows, NEGLIGIBLE * turned)
        before = at.slopes[k] * rows  # the diagonal of C for l = k + 1; a matrix (..., n, m_{l−1}, m_k) from then on
        for layer in range(k + 1, depth + 1):
            along = _times(at.network.directions(layer).unsqueeze(-3), before, layer == k + 1)  # U^l C
            turned = s[layer] * largest_eigenvalue_bound(_turning(at, layer, before, along, layer == k + 1)).sqrt()
            scale = s[layer] * at.network.gain(layer).unsqueeze(-2)
            jacobian = scale.unsqueeze(-1) * along  # J^{l←k} diag(ε_k) (..., n, m_l, m_k)
            bent = epsilon[layer - 1].unsqueeze(-1) * _product(second[layer], jacobian)
            entries[k, layer] = turned + norm_bound(bent, NEGLIGIBLE * turned)
            before = at.slopes[layer].unsqueeze(-1) * jacobian
        entries[k, depth + 1] = s[-1] * (norm_bound(before) if k < depth else before.abs().amax(-1))
    return norm_of_blocks(entries, depth + 1)


def second_derivatives(at: Passes) -> dict[int, Tensor]:
    """Q^k = ∂²f/∂(z^k)² (..., n, m_k, m_k) for k = 1 … L − 1, and the diagonal (..., n, m_L) that Q^L is.

    Statement: Q^L = diag(b^L ∘ φ″(z^L)), Q^k = diag(b^k ∘ φ″(z^k)) + D_k T_{k+1}ᵀ Q^{k+1} T_{k+1} D_k.
    """
    depth = at.network.depth
    second = {depth: at.b[depth] * at.bends[depth]}
    for k in range(depth - 1, 0, -1):
        step = at.network.transfer(k + 1).unsqueeze(-3) * at.slopes[k].unsqueeze(-2)  # (..., n, m_{k+1}, m_k)
        second[k] = step.mT @ _product(second[k + 1], step)
        second[k].diagonal(dim1=-2, dim2=-1).add_(at.b[k] * at.bends[k])
    return second


def _row_bends(at: Passes, k: int) -> Tensor:
    """max_i |g_i| χ_i (..., n) of layer k."""
    network = at.network
    if not network.normalised:
        return torch.zeros_like(at.f)
    r, c = network.row_norms(k).unsqueeze(-2), network.gain(k).abs().unsqueeze(-2)
    y = c * at.aligned[k].abs() / r**2
    w = at.rest[k] * ((c / r**2) ** 2 + (1 / r**2 if network.trainable_gains else 0.0)).sqrt()
    return (at.g[k].abs() * (y + (y**2 + 4 * w**2).sqrt()) / 2).amax(-1)


def _turning(at: Passes, layer: int, before: Tensor, along: Tensor, diagonal: bool) -> Tensor:
    """Cᵀ G C (..., n, m, m) of `block_bounds` from C, or its diagonal, and U^l C (..., n, m_l, m)."""
    network, squares = at.network, at.g[layer].square()
    gram = torch.diag_embed(before.square()) if diagonal else before.mT @ before
    if not network.normalised:
        return squares.sum(-1)[..., None, None] * gram
    weight = squares * (network.gain(layer) / network.row_norms(layer)).square().unsqueeze(-2)  # (..., n, m_l)
    rest = (squares - weight) if network.trainable_gains else -weight
    return gram.mul_(weight.sum(-1)[..., None, None]).add_(along.mT @ (rest.unsqueeze(-1) * along))


def _times(matrices: Tensor, other: Tensor, diagonal: bool) -> Tensor:
    """X Y, where Y may be given by its diagonal."""
    return matrices * other.unsqueeze(-2) if diagonal else matrices @ other


def _product(second: Tensor, matrices: Tensor) -> Tensor:
    """Q X, where Q may be given by its diagonal: it is so by having one axis less."""
    return second.unsqueeze(-1) * matrices if second.dim() < matrices.dim() else second @ matrices


def _scaled_norm(second: Tensor, rows: Tensor, negligible: Tensor) -> Tensor:
    """‖diag(ε) Q diag(ε)‖₂ (..., n), where Q may be given by its diagonal; as `norm_bound`."""
    if second.dim() == rows.dim():
        return (second * rows.square()).abs().amax(-1)
    return symmetric_norm_bound(rows.unsqueeze(-1) * second * rows.unsqueeze(-2), negligible)
