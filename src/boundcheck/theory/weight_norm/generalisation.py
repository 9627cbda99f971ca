"""Width-free generalisation of weight-normalised networks: Rademacher complexity and the gap between test and training.

Derived here, in the paper's scaling s_l = 1/√m_{l−1}; of the order √(L/n) that the paper's abstract announces where
φ(0) = 0. Unit rows need no positive homogeneity: a layer's norm averaged over its rows is at most that of one row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from boundcheck.theory.weight_norm.activation import Activation


def rademacher_bound(
    num_samples: float, output_norm: float, depth: int, activation: Activation, input_length: float
) -> float:
    """Upper bound on the empirical Rademacher complexity of all such networks, whatever their widths.

    Statement: R̂_n ≤ (V/√n) (ξ Π_l κ_l + √(2L log 2) e_L), with h_0 = ξ, h_l = sup_{|z|≤h_{l−1}}|φ|, κ_l the Lipschitz
    constant of φ on |z| ≤ h_{l−1}, e_0 = ξ and e_l = κ_l e_{l−1} + |φ(0)|. With φ(0) = 0, κ ≤ 1 it is
    V ξ (1 + √(2L log 2))/√n.
    Proof: symmetrise, bound log E exp(μ‖Σε_i a^l(x_i)‖/√m_l) layer by layer (factor 2 for the modulus, contraction,
    Hölder for the term φ(0) Σε_i), and minimise over μ.

    Args:
        num_samples: n.
        output_norm: V ≥ ‖v‖₂.
        depth: L.
        activation: φ.
        input_length: ξ = ‖x_i‖/√d, the same for all inputs (else their largest).
    """
    h = excess = torch.tensor(input_length, dtype=torch.float64)
    lipschitz = torch.ones((), dtype=torch.float64)
    for _ in range(depth):
        kappa = activation.sup1(h)
        lipschitz = lipschitz * kappa
        excess = kappa * excess + abs(activation.at_zero)
        h = activation.sup0(h)
    total = input_length * float(lipschitz) + math.sqrt(2 * depth * math.log(2)) * float(excess)
    return output_norm / math.sqrt(num_samples) * total


def prediction_bound(output_norm: float, depth: int, activation: Activation, input_length: float) -> float:
    """|f(x)| ≤ ‖v‖ h_L, with h_l of `rademacher_bound`."""
    h = torch.tensor(input_length, dtype=torch.float64)
    for _ in range(depth):
        h = activation.sup0(h)
    return output_norm * float(h)


def generalisation_gap_bound(
    num_samples: float,
    output_norms: Sequence[float],
    depth: int,
    activation: Activation,
    input_length: float,
    target_bound: float = 1.0,
    confidence: float = 0.95,
) -> float:
    """Upper bound on the expected minus the training loss of a trained network, uniform over widths and weights.

    Statement: with probability ≥ 1 − δ over the n examples, for the square loss summed over K outputs,
        L_D − L̂ ≤ Σ_k 4 (V_k h_L + Y) R̂_n(V_k) + 3 Σ_k C_k √(log(2/δ_j)/(2n)),  C_k = (V_k h_L + Y)²,
    where, for it to hold for trained v_k, V_k = 2^j ≥ max_k ‖v_k‖ for all k with the least such j ≥ 0, and
    δ_j = δ/((j+1)(j+2)).

    Args:
        num_samples: n.
        output_norms: ‖v_k‖ after training, one for each output.
        depth: L.
        activation: φ.
        input_length: ‖x‖/√d of every input that can occur.
        target_bound: Y ≥ |y_k|.
        confidence: 1 − δ.

    Returns: the bound, in units of the loss; it falls like 1/√n.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}; allowed: in (0, 1)")
    j = max(0, math.ceil(math.log2(max(*output_norms, 1e-300)))) if output_norms else 0
    norm, delta = 2.0**j, (1 - confidence) / ((j + 1) * (j + 2))
    reach = prediction_bound(norm, depth, activation, input_length) + target_bound
    complexity = rademacher_bound(num_samples, norm, depth, activation, input_length)
    deviation = 3 * reach**2 * math.sqrt(math.log(2 / delta) / (2 * num_samples))
    return len(output_norms) * (4 * reach * complexity + deviation)
