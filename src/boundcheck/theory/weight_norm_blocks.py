"""The Hessian of a weight-normalised predictor, block by block: the tightest bound on its norm, and the matrix itself.

With J^{l←k} = ∂z^l/∂z^k = T_l D_{l−1} ⋯ T_{k+1} D_k, D_l = diag φ′(z^l), Q^k = ∂²f/∂(z^k)² (`second_derivatives`),
E_k = ∂z^k/∂W^k and N_k: δW^k ↦ s_k Σ_i g_i c_i P_i δ_i/r_i:

    H_kk = E_kᵀ Q^k E_k + blockdiag_i(s_k g_i K_i),  H_kl = E_kᵀ (J^{l←k})ᵀ Q^l E_l + (D_{l−1} J^{(l−1)←k} E_k)ᵀ N_l,
    H_kv = s_{L+1} (D_L J^{L←k} E_k)ᵀ,  H_vv = 0,  K_i = −[(u·a) P + u (Pa)ᵀ + (Pa) uᵀ]/r_i².
"""

from __future__ import annotations

import torch
from torch import Tensor

from boundcheck.theory.weight_norm_network import Passes, gradient_norm, row_sensitivity
from boundcheck.theory.weight_norm_recursion import Bounds, norm_of_blocks, spectral_norm


def block_bounds(at: Passes) -> Bounds:
    """B2: at (θ, x), from the norms of the Hessian's blocks, none of which is ever formed.

    Statement: ‖∇²f‖₂ ≤ ‖M‖₂ with
        M_kk = ‖diag(ε_k) Q^k diag(ε_k)‖₂ + s_k max_i |g_i| χ_i,
        M_kl = ‖diag(ε_l) Q^l J^{l←k} diag(ε_k)‖₂ + s_l ‖Cᵀ G C‖₂^{1/2},  k < l,
        M_kv = s_{L+1} ‖D_L J^{L←k} diag(ε_k)‖₂,
    where C = D_{l−1} J^{(l−1)←k} diag(ε_k), G = Σ_i g_i² ((c_i/r_i)² P_i + u_iu_iᵀ [trained c_i]), and
    χ_i = (y + √(y² + 4w²))/2 is the norm of the second derivative of (w, c) ↦ c u·a: y = |c_i u_i·a|/r_i²,
    w = ‖P_i a‖ √((c_i/r_i²)² + 1/r_i² [trained]). Without normalisation χ = 0 and G = Σ g_i² I.
    Cost: about L² norms of m×m matrices for each input.

    Returns: the exact ‖∇f‖ and ‖a^L‖, and B2 (..., n).
    """
    network, depth, s = at.network, at.network.depth, at.network.s
    epsilon = {k: row_sensitivity(at, k) for k in range(1, depth + 1)}  # (..., n, m_k)
    transfer = {k: network.transfer(k).unsqueeze(-3) for k in range(1, depth + 1)}  # (..., 1, m_k, m_{k−1})
    second = second_derivatives(at)
    entries: dict[tuple[int, int], Tensor] = {}
    for k in range(1, depth + 1):
        scaled = epsilon[k].unsqueeze(-1) * second[k] * epsilon[k].unsqueeze(-2)
        entries[k, k] = _symmetric_norm(scaled) + s[k] * _row_bends(at, k)
        jacobian = torch.diag_embed(epsilon[k])  # J^{l←k} diag(ε_k) (..., n, m_l, m_k)
        for layer in range(k + 1, depth + 1):
            before = at.slopes[layer - 1].unsqueeze(-1) * jacobian
            jacobian = transfer[layer] @ before
            bent = spectral_norm(epsilon[layer].unsqueeze(-1) * (second[layer] @ jacobian))
            turned = _symmetric_norm(before.mT @ _turning(at, layer, before))
            entries[k, layer] = bent + s[layer] * turned.sqrt()
        entries[k, depth + 1] = s[-1] * spectral_norm(at.slopes[depth].unsqueeze(-1) * jacobian)
    last = torch.linalg.vector_norm(at.a[depth], dim=-1)
    return Bounds(gradient_norm(at), norm_of_blocks(entries, depth + 1), last)


def second_derivatives(at: Passes) -> dict[int, Tensor]:
    """Q^k = ∂²f/∂(z^k)² (..., n, m_k, m_k) for k = 1 … L.

    Statement: Q^L = diag(b^L ∘ φ″(z^L)), Q^k = diag(b^k ∘ φ″(z^k)) + D_k T_{k+1}ᵀ Q^{k+1} T_{k+1} D_k.
    """
    depth = at.network.depth
    second = {depth: torch.diag_embed(at.b[depth] * at.bends[depth])}
    for k in range(depth - 1, 0, -1):
        step = at.network.transfer(k + 1).unsqueeze(-3) * at.slopes[k].unsqueeze(-2)  # (..., n, m_{k+1}, m_k)
        second[k] = torch.diag_embed(at.b[k] * at.bends[k]) + step.mT @ second[k + 1] @ step
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


def _turning(at: Passes, layer: int, matrix: Tensor) -> Tensor:
    """G X for X (..., n, m_{l−1}, m), with G of `block_bounds`."""
    network, g = at.network, at.g[layer]
    weight = g.square()
    if not network.normalised:
        return weight.sum(-1)[..., None, None] * matrix
    weight = weight * (network.gain(layer) / network.row_norms(layer)).square().unsqueeze(-2)  # (..., n, m_l)
    along = (g.square() - weight) if network.trainable_gains else -weight
    directions = network.directions(layer).unsqueeze(-3)
    return weight.sum(-1)[..., None, None] * matrix + directions.mT @ (along.unsqueeze(-1) * (directions @ matrix))


def _symmetric_norm(matrices: Tensor) -> Tensor:
    """‖X‖₂ (...) of symmetric matrices (..., m, m)."""
    ends = torch.linalg.eigvalsh((matrices + matrices.mT) / 2)[..., [0, -1]]
    return ends.abs().amax(-1)


def predictor_hessian(at: Passes) -> Tensor:
    """∇²f as a matrix (p, p) in the order (W¹ … W^L, v), for one small network without gains and one input.

    Raises:
        ValueError: gains, no normalisation, several networks or several inputs.
    """
    network, depth, s = at.network, at.network.depth, at.network.s
    if network.gains is not None or not network.normalised or at.f.shape != (1,):
        raise ValueError("at: allowed: one normalised network without gains and one input")
    widths = network.widths
    starts = [0]
    for m, n in zip(widths[1:], widths, strict=False):
        starts.append(starts[-1] + m * n)
    size = starts[-1] + widths[-1]
    into = {k: _embedding(at, k) for k in range(1, depth + 1)}  # E_k (m_k, m_k m_{k−1}), N_k (m_{k−1}, m_k m_{k−1})
    second = {k: q[0] for k, q in second_derivatives(at).items()}
    hessian = at.f.new_zeros(size, size)
    for k in range(1, depth + 1):
        rows = slice(starts[k - 1], starts[k])
        hessian[rows, rows] = into[k][0].mT @ second[k] @ into[k][0] + torch.block_diag(*_row_hessians(at, k))
        jacobian = into[k][0]
        for layer in range(k + 1, depth + 1):
            before = at.slopes[layer - 1][0].unsqueeze(-1) * jacobian
            jacobian = network.transfer(layer) @ before
            columns = slice(starts[layer - 1], starts[layer])
            block = jacobian.mT @ second[layer] @ into[layer][0] + before.mT @ into[layer][1]
            hessian[rows, columns], hessian[columns, rows] = block, block.mT
        block = s[-1] * (at.slopes[depth][0].unsqueeze(-1) * jacobian).mT
        hessian[rows, starts[depth] :], hessian[starts[depth] :, rows] = block, block.mT
    return hessian


def _projections(at: Passes, k: int) -> Tensor:
    """P_i = I − u_i u_iᵀ (m_k, m_{k−1}, m_{k−1})."""
    u = at.network.directions(k)
    return torch.eye(u.shape[-1], dtype=u.dtype) - u.unsqueeze(-1) * u.unsqueeze(-2)


def _embedding(at: Passes, k: int) -> tuple[Tensor, Tensor]:
    """E_k and N_k as matrices."""
    s, r, projections = at.network.s[k], at.network.row_norms(k), _projections(at, k)
    rows = s * (projections @ at.a[k - 1][0]) / r.unsqueeze(-1)  # (m, n)
    turned = s * (at.g[k][0] / r)[:, None, None] * projections  # (m, n, n)
    return torch.block_diag(*rows.unsqueeze(1)), torch.cat([*turned], dim=1)


def _row_hessians(at: Passes, k: int) -> list[Tensor]:
    """s_k g_i K_i for each row i."""
    u, projections, a = at.network.directions(k), _projections(at, k), at.a[k - 1][0]
    rest = projections @ a  # (m, n)
    cross = u.unsqueeze(-1) * rest.unsqueeze(-2)
    bends = (u @ a)[:, None, None] * projections + cross + cross.mT
    factor = -at.network.s[k] * at.g[k][0] / at.network.row_norms(k) ** 2
    return [*(factor[:, None, None] * bends)]
