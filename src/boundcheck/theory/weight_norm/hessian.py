"""The Hessian of a weight-normalised predictor as a matrix, assembled from its blocks; for what they say, and tests.

With J, Q, T and D of `weight_norm.blocks`, E_k = ∂z^k/∂W^k and N_k: δW^k ↦ s_k Σ_i g_i c_i P_i δ_i/r_i:

    H_kk = E_kᵀ Q^k E_k + blockdiag_i(s_k g_i K_i),  H_kl = E_kᵀ (J^{l←k})ᵀ Q^l E_l + (D_{l−1} J^{(l−1)←k} E_k)ᵀ N_l,
    H_kv = s_{L+1} (D_L J^{L←k} E_k)ᵀ,  H_vv = 0,  K_i = −[(u·a) P + u (Pa)ᵀ + (Pa) uᵀ]/r_i².
"""

from __future__ import annotations

import torch
from torch import Tensor

from boundcheck.theory.weight_norm.blocks import second_derivatives
from boundcheck.theory.weight_norm.network import Passes


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
    second[depth] = torch.diag(second[depth])
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
