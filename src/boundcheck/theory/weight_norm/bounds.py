"""Weight normalisation bounds the predictor's Hessian: from a norm per layer, at a point, for all inputs, or a priori.

Derived here for the network of `weight_norm.network`; the paper (Cisneros-Velarde, Chen, Koyejo, Banerjee 2024,
arXiv:2409.08935) states a bound of this kind, inverse in the least row norm and polynomial in the depth, whose
constants were not available. ‖∇²f‖₂ ≤ B2 ≤ B1 ≤ B0t ≤ B0, from the tightest and dearest to the cheapest:

    B2   `weight_norm.blocks.block_bounds`  θ and x; norms of m×m matrices for each x
    B1   `layer_bounds`                     θ and x; a few norms for each layer
    B0t  `parameter_bounds`                 θ and ‖x‖: one bound for all inputs of that length
    B0   `a_priori_bounds`                  widths, least row norms, ‖v‖ and ‖x‖ only

All are the norm of the (L+1)×(L+1) matrix M of bounds on the norms of the Hessian's blocks: see
`weight_norm.recursion.block_norms`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from boundcheck.theory.weight_norm.activation import Activation
from boundcheck.theory.weight_norm.network import Network, Passes, paper_scales
from boundcheck.theory.weight_norm.recursion import Bounds, LayerNorms, block_norms, spectral_norm, turns


class OutputNorms(NamedTuple):
    """‖v‖₂ and ‖v‖_∞."""

    euclidean: Tensor
    largest: Tensor


def a_priori_bounds(
    widths: Sequence[int],
    row_norms: Sequence[Tensor],
    output_norm: Tensor,
    input_norm: Tensor,
    activation: Activation,
    scales: Sequence[float] | None = None,
    output_max: Tensor | None = None,
    max_gains: Sequence[Tensor] | None = None,
    trainable_gains: bool = False,
    local: bool = True,
) -> Bounds:
    """B0: what holds for every weight-normalised network of these widths whose rows are at least so long.

    Statement: with A_0 = ‖x‖, |z^l| ≤ s_l c A_{l−1} =: h and A_l = √m_l sup_{|z|≤h}|φ(z)|, the norm of M with
    ‖T_l‖ ≤ s_l c √m_l and the suprema of |φ′|, |φ″| over |z| ≤ h. Numbers only: everything broadcasts.

    Args:
        widths: m_0 = d, m_1 … m_L.
        row_norms: r_1 … r_L > 0, the least row norm of each layer.
        output_norm: ‖v‖₂; of K outputs ‖V‖₂ for every ρᵀf with ‖ρ‖ = 1.
        input_norm: ‖x‖₂.
        activation: φ.
        scales: s_1 … s_{L+1}; none: the paper's 1/√m_{l−1}.
        output_max: ‖v‖_∞ where it is known.
        max_gains: the largest |c| of each layer; none: 1.
        trainable_gains: whether θ contains the gains.
        local: suprema over the certified range; else over the whole line.
    """
    depth = len(widths) - 1
    s = [math.nan, *(paper_scales(widths) if scales is None else scales)]
    one = torch.ones_like(torch.as_tensor(output_norm, dtype=torch.float64))
    gains = [one] * (depth + 1) if max_gains is None else [one, *max_gains]
    a, slope, bend, transfer = [input_norm * one], [one], [one], [one]
    for layer in range(1, depth + 1):
        root, h = math.sqrt(widths[layer]), s[layer] * gains[layer] * a[-1]
        transfer.append(s[layer] * gains[layer] * root)
        a.append(root * (activation.sup0(h) if local else activation.k0 * h + abs(activation.at_zero)))
        slope.append(activation.sup1(h) if local else activation.k1 * one)
        bend.append(activation.sup2(h) if local else activation.beta * one)
    turn, turn_bend = turns([one, *row_norms], gains, trainable_gains)
    b, b_max, g = [one] * (depth + 1), [one] * (depth + 1), [one] * (depth + 1)
    b[depth], b_max[depth] = s[-1] * output_norm, s[-1] * (output_norm if output_max is None else output_max)
    for layer in range(depth, 0, -1):
        g[layer] = slope[layer] * b[layer]
        if layer > 1:
            b[layer - 1] = b_max[layer - 1] = transfer[layer] * g[layer]
    g_max = [k * largest for k, largest in zip(slope, b_max, strict=True)]
    return block_norms(LayerNorms(s, transfer, a, slope, bend, b_max, g, g_max, turn, turn_bend))


def parameter_bounds(
    network: Network,
    input_norm: float | Tensor,
    radius: float | Tensor | Sequence[Tensor] = 0.0,
    output: OutputNorms | None = None,
) -> Bounds:
    """B0t: a bound for every input of one length at every θ′ within a radius of θ.

    Statement: as B0, with ‖T_l‖₂ as it is, A_l the smaller of √m_l sup|φ| and κ_l ‖T_l‖ A_{l−1} + √m_l|φ(0)|, and
    ‖b^{l−1}‖_∞ ≤ max_j‖T_l e_j‖ ‖g^l‖₂. Within ρ of θ every row norm shrinks by at most ρ, ‖v‖ grows by at most ρ,
    each u_i turns by at most ρ_i/(r − ρ) with Σρ_i² ≤ ρ² (so ‖U‖₂ and its column norms grow by at most ρ/(r − ρ)),
    and a trained gain grows by at most ρ; un-normalised ‖W^l‖₂ and its column norms grow by at most ρ.

    Args:
        network: θ.
        input_norm: ‖x‖₂ (..., n) or a number.
        radius: ρ ≥ 0 of all of θ, below every row norm; or one for each layer 1 … L and the output, (..., 1) each.
        output: norms of v instead of those of `network.output`; `matrix_norms(V)` for all ρᵀf of K outputs.

    Returns: bounds of shape (..., n) with n that of `input_norm`; infinite where ρ reaches a row norm.
    """
    depth, s, phi = network.depth, network.s, network.activation
    radii = [torch.as_tensor(r, dtype=torch.float64) for r in _each(radius, depth + 1)]
    input_norm = torch.as_tensor(input_norm, dtype=torch.float64)
    norm, largest = (value + radii[depth] for value in output or vector_norms(network))
    transfer, column, gains, rows = [norm], [norm], [norm], [norm]
    for layer in range(1, depth + 1):
        ball = radii[layer - 1]
        r, c = network.row_norms(layer).amin(-1, keepdim=True), network.gain(layer).abs().amax(-1, keepdim=True)
        if network.normalised:
            grown = c + ball if network.trainable_gains else c
            shortest = torch.where(r > ball, r - ball, torch.zeros_like(r))
            growth = s[layer] * (grown * ball / shortest + (grown - c))
            growth = torch.where(ball > 0, growth, torch.zeros_like(growth))
            gains.append(grown)
            rows.append(shortest)
        else:
            growth = s[layer] * ball
            gains.append(torch.linalg.vector_norm(network.weights[layer - 1], dim=-1).amax(-1, keepdim=True) + ball)
            rows.append(torch.ones_like(r))
        matrix = network.transfer(layer)
        transfer.append(spectral_norm(matrix).unsqueeze(-1) + growth)
        column.append(torch.linalg.vector_norm(matrix, dim=-2).amax(-1, keepdim=True) + growth)
    a, slope, bend = [input_norm], [norm], [norm]
    for layer in range(1, depth + 1):
        root, h = math.sqrt(network.widths[layer]), s[layer] * gains[layer] * a[-1]
        slope.append(phi.sup1(h))
        bend.append(phi.sup2(h))
        linear = slope[-1] * transfer[layer] * a[-1] + abs(phi.at_zero) * root
        a.append(torch.minimum(root * phi.sup0(h), linear))
    b, b_max, g, g_max = ([norm] * (depth + 1) for _ in range(4))
    b[depth], b_max[depth] = s[-1] * norm, s[-1] * largest
    for layer in range(depth, 0, -1):
        g[layer], g_max[layer] = slope[layer] * b[layer], slope[layer] * b_max[layer]
        if layer > 1:
            b[layer - 1] = transfer[layer] * g[layer]
            b_max[layer - 1] = torch.minimum(b[layer - 1], column[layer] * g[layer])
    turn, turn_bend = turns(rows, gains, network.trainable_gains, network.normalised)
    return block_norms(LayerNorms(s, transfer, a, slope, bend, b_max, g, g_max, turn, turn_bend))


def layer_bounds(at: Passes) -> Bounds:
    """B1: at (θ, x), from the norms that each layer has there.

    Statement: the norm of M with the actual ‖T_l‖₂, ‖a^l‖₂, max|φ′(z^l)|, max|φ″(z^l)|, ‖b^l‖_∞, ‖g^l‖₂ and ‖g^l‖_∞.

    Returns: bounds (..., n).
    """
    network, depth = at.network, at.network.depth
    one = at.f.new_ones(1)

    def two(tensors: list[Tensor]) -> list[Tensor]:
        return [torch.linalg.vector_norm(t, dim=-1) if t.dim() else t for t in tensors]

    def largest(tensors: list[Tensor]) -> list[Tensor]:
        return [t.abs().amax(-1) if t.dim() else t for t in tensors]

    layers = range(1, depth + 1)
    transfer = [one, *(spectral_norm(network.transfer(layer)).unsqueeze(-1) for layer in layers)]
    rows = [one, *(network.row_norms(layer).amin(-1, keepdim=True) for layer in layers)]
    gains = [one, *(network.gain(layer).abs().amax(-1, keepdim=True) for layer in layers)]
    turn, turn_bend = turns(rows, gains, network.trainable_gains, network.normalised)
    slope, bend = largest(at.slopes), largest(at.bends)
    b_max, g, g_max = largest(at.b), two(at.g), largest(at.g)
    return block_norms(LayerNorms(network.s, transfer, two(at.a), slope, bend, b_max, g, g_max, turn, turn_bend))


def vector_norms(network: Network) -> OutputNorms:
    """Norms of v: (..., n) where each input has its own, else (..., 1)."""
    v = network.output if network.output.dim() == network.weights[0].dim() else network.output.unsqueeze(-2)
    return OutputNorms(torch.linalg.vector_norm(v, dim=-1), v.abs().amax(-1))


def matrix_norms(output: Tensor) -> OutputNorms:
    """The largest norms (..., 1) that Vᵀρ with ‖ρ‖ = 1 has, for V (..., K, m): ‖V‖₂ and the largest column norm."""
    columns = torch.linalg.vector_norm(output, dim=-2)
    return OutputNorms(spectral_norm(output).unsqueeze(-1), columns.amax(-1, keepdim=True))


def _each(value: float | Tensor | Sequence[Tensor], num: int) -> list[float | Tensor]:
    return [*value] if isinstance(value, Sequence) else [value] * num
