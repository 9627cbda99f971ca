"""A weight-normalised network as its theory sees it: parameters, and one pass forward and back over many inputs.

With s_l scales, c gains (1 where there are none) and u_i = w_i/‖w_i‖ the rows of U^l:

    z^l = s_l c ∘ U^l a^{l−1},  a^l = φ(z^l),  a^0 = x,  f = s_{L+1} ⟨v, a^L⟩,  l = 1 … L
    b^L = s_{L+1} v,  g^l = φ′(z^l) ∘ b^l = ∂f/∂z^l,  b^{l−1} = T_lᵀ g^l  with  T_l = s_l diag(c) U^l

The un-normalised network is the same with U^l = W^l and no gains. Tensors are float64; leading axes (seeds) broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from boundcheck.theory.weight_norm.activation import Activation


@dataclass(frozen=True)
class Network:
    """θ = (W¹ … W^L, v), with trainable gains also c¹ … c^L.

    Args:
        weights: W^l (..., m_l, m_{l−1}), before normalisation.
        output: v (..., m_L), or (..., n, m_L) where each input has its own; of K outputs V, ρᵀf has v = Vᵀρ.
        activation: φ.
        scales: s_1 … s_{L+1}; none: the paper's 1/√m_{l−1}.
        gains: c^l (..., m_l); none: all 1.
        trainable_gains: whether θ contains the gains.
        normalised: whether rows are divided by their norm.
    """

    weights: Sequence[Tensor]
    output: Tensor
    activation: Activation
    scales: Sequence[float] | None = None
    gains: Sequence[Tensor] | None = None
    trainable_gains: bool = False
    normalised: bool = True

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("weights: got none; allowed: at least one hidden layer")
        if self.scales is not None and len(self.scales) != self.depth + 1:
            raise ValueError(f"scales: got {len(self.scales)}; allowed: {self.depth + 1}, one more than hidden layers")
        if self.gains is not None and not self.normalised:
            raise ValueError("gains: got some without normalisation; allowed: none")
        if self.trainable_gains and self.gains is None:
            raise ValueError("trainable_gains: got True without gains; allowed: False")

    @property
    def depth(self) -> int:
        """L, hidden layers."""
        return len(self.weights)

    @property
    def widths(self) -> list[int]:
        """m_0 = d, m_1 … m_L."""
        return [self.weights[0].shape[-1], *(weight.shape[-2] for weight in self.weights)]

    @property
    def s(self) -> list[float]:
        """s_1 … s_{L+1} at the places 1 … L+1."""
        return [math.nan, *(paper_scales(self.widths) if self.scales is None else self.scales)]

    def row_norms(self, layer: int) -> Tensor:
        """r_i = ‖w_i‖ (..., m_l) of layer l = 1 … L; of the un-normalised network 1, for nothing is divided there."""
        weight = self.weights[layer - 1]
        return torch.linalg.vector_norm(weight, dim=-1) if self.normalised else torch.ones_like(weight[..., 0])

    def directions(self, layer: int) -> Tensor:
        """U^l (..., m_l, m_{l−1})."""
        return self.weights[layer - 1] / self.row_norms(layer).unsqueeze(-1)

    def gain(self, layer: int) -> Tensor:
        """c^l (..., m_l)."""
        return torch.ones_like(self.weights[layer - 1][..., 0]) if self.gains is None else self.gains[layer - 1]

    def transfer(self, layer: int) -> Tensor:
        """T_l = s_l diag(c^l) U^l (..., m_l, m_{l−1})."""
        return self.s[layer] * self.gain(layer).unsqueeze(-1) * self.directions(layer)


@dataclass(frozen=True)
class Passes:
    """What a pass forward and back leaves, at the places 0 … L of lists (place 0 of `z`, `g`, ... is the input's own).

    Attributes: `a` (..., n, m_l); for l ≥ 1 `z`, `slopes` φ′(z), `bends` φ″(z), `b`, `g` (..., n, m_l), and
    `aligned` u_i·a^{l−1} and `rest` ‖P_i a^{l−1}‖ with P_i = I − u_i u_iᵀ (..., n, m_l); `f` (..., n).
    """

    network: Network
    a: list[Tensor]
    z: list[Tensor]
    slopes: list[Tensor]
    bends: list[Tensor]
    b: list[Tensor]
    g: list[Tensor]
    aligned: list[Tensor]
    rest: list[Tensor]
    f: Tensor

    def part(self, inputs: slice) -> Passes:
        """The passes of some of the n inputs."""
        lists = ("a", "z", "slopes", "bends", "b", "g", "aligned", "rest")
        cut = {name: [t[..., inputs, :] if t.dim() else t for t in getattr(self, name)] for name in lists}
        return Passes(self.network, **cut, f=self.f[..., inputs])


def paper_scales(widths: Sequence[int]) -> list[float]:
    """s_l = 1/√m_{l−1} for l = 1 … L+1, from the widths m_0 = d, m_1 … m_L."""
    return [1 / math.sqrt(width) for width in widths]


def passes(network: Network, inputs: Tensor) -> Passes:
    """One pass forward and back.

    Args:
        network: with leading axes (...).
        inputs: x (..., n, d).

    Returns:
        everything that the bounds at (θ, x) are made of.
    """
    phi, s, depth, nothing = network.activation, network.s, network.depth, inputs.new_zeros(())
    a, z, aligned, rest = [inputs], [nothing], [nothing], [nothing]
    for layer in range(1, depth + 1):
        along, across = _split(a[-1], network.directions(layer), network.normalised)
        aligned.append(along)
        rest.append(across)
        z.append(s[layer] * network.gain(layer).unsqueeze(-2) * (a[-1] @ network.directions(layer).mT))
        a.append(phi.value(z[-1]))
    slopes, bends = [nothing, *map(phi.slope, z[1:])], [nothing, *map(phi.bend, z[1:])]
    v = network.output if network.output.dim() == network.weights[0].dim() else network.output.unsqueeze(-2)
    b, g = [nothing] * (depth + 1), [nothing] * (depth + 1)
    b[depth] = (s[depth + 1] * v).expand_as(a[depth])
    for layer in range(depth, 0, -1):
        g[layer] = slopes[layer] * b[layer]
        if layer > 1:
            b[layer - 1] = g[layer] @ network.transfer(layer)
    return Passes(network, a, z, slopes, bends, b, g, aligned, rest, (b[depth] * a[depth]).sum(-1))


def _split(a: Tensor, directions: Tensor, normalised: bool) -> tuple[Tensor, Tensor]:
    """u_i·a and ‖a − (u_i·a) u_i‖ (..., n, m), the latter from the difference itself: ‖a‖² − (u·a)² would cancel."""
    if not normalised:
        norm = torch.linalg.vector_norm(a, dim=-1, keepdim=True)
        shape = (*norm.shape[:-1], directions.shape[-2])
        return norm.new_zeros(shape), norm.expand(shape)
    aligned = a @ directions.mT  # (..., n, m)
    across = [
        torch.linalg.vector_norm(one.unsqueeze(-2) - along.unsqueeze(-1) * directions, dim=-1)
        for one, along in zip(a.unbind(-2), aligned.unbind(-2), strict=True)
    ]
    return aligned, torch.stack(across, -2)


def gradient_norm(at: Passes) -> Tensor:
    """The exact norm of the predictor's gradient.

    Statement: ∂f/∂w_i^k = g_i^k s_k c_i P_i a^{k−1}/r_i, which is orthogonal to w_i, and ∂f/∂v = s_{L+1} a^L, so that
    ‖∇f‖² = s²_{L+1}‖a^L‖² + Σ_k Σ_i (g_i^k ε_{k,i})² with ε_{k,i} of `row_sensitivity`.

    Returns: ‖∇_θ f(θ; x)‖₂ (..., n).
    """
    network = at.network
    total = (network.s[-1] ** 2) * at.a[-1].square().sum(-1)
    for layer in range(1, network.depth + 1):
        total = total + (at.g[layer] * row_sensitivity(at, layer)).square().sum(-1)
    return total.sqrt()


def row_sensitivity(at: Passes, layer: int) -> Tensor:
    """ε_{k,i}, the norm of ∂z_i^k/∂(row i of θ).

    Statement: ε_{k,i} = s_k √((c_i ‖P_i a‖/r_i)² + (u_i·a)² [trainable gain]); un-normalised s_k ‖a‖.

    Returns: (..., n, m_k).
    """
    network = at.network
    rows = network.gain(layer).unsqueeze(-2) * at.rest[layer] / network.row_norms(layer).unsqueeze(-2)
    if network.trainable_gains:
        rows = torch.hypot(rows, at.aligned[layer])
    return network.s[layer] * rows.abs()
