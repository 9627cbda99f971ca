"""The Hessian bound of weight-normalised predictors in closed form, at equal widths: L²/(√m r²) and L³/(√m r²)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from boundcheck.theory.weight_norm.activation import Activation
from boundcheck.theory.weight_norm.recursion import UNIT_BEND


class ClosedForms(NamedTuple):
    """Upper bounds: `gradient` on ‖∇f‖; `hessian` ≤ `hessian_sum` on ‖∇²f‖₂, and `hessian_cubic`, growing like L³."""

    gradient: float
    hessian: float
    hessian_sum: float
    hessian_cubic: float


def closed_form_bounds(
    depth: int, width: int, row_norm: float, output_norm: float, input_length: float, activation: Activation
) -> ClosedForms:
    """Bounds for L hidden layers of m units in the paper's scaling, s_l = 1/√m_{l−1}.

    Statement: with h_0 = ‖x‖/√d, h_l = sup_{|z|≤h_{l−1}}|φ(z)|, h = max_l h_l, κ = max(1, sup|φ′|), β = sup|φ″|,
        a = κ^{max(2L−2, L)} ‖v‖/(√m r²) (β h² L(L+1)/2 + (2/√3) h + (L−1) h/√m),  b = κ^L √L h/(√m r),
        ‖∇²f‖₂ ≤ (a + √(a² + 4b²))/2 ≤ a + b,
        ‖∇²f‖₂ ≤ κ^{…} (‖v‖/(√m r²) (β h² L(L+1)(2L+1)/6 + 2Lh/√3 + L(L−1) h/√m) + 2Lh/(√m r)),
        ‖∇f‖ ≤ h √(1 + L κ^{2L} ‖v‖²/(m r²)).
    The first is the norm of the matrix of block norms, the last but one their sum.

    Args:
        depth: L ≥ 1.
        width: m.
        row_norm: r > 0, the least over all rows.
        output_norm: ‖v‖₂.
        input_length: ‖x‖/√d.
        activation: φ.
    """
    h = largest = input_length
    for _ in range(depth):
        h = float(activation.sup0(torch.tensor(h, dtype=torch.float64)))
        largest = max(largest, h)
    root, kappa = math.sqrt(width), max(1.0, activation.k1)
    twice, once = kappa ** max(2 * depth - 2, depth), kappa**depth
    unit = twice * output_norm / (root * row_norm**2)
    bend = activation.beta * largest**2
    a = unit * (bend * depth * (depth + 1) / 2 + UNIT_BEND * largest + (depth - 1) * largest / root)
    b = once * math.sqrt(depth) * largest / (root * row_norm)
    cubic = bend * depth * (depth + 1) * (2 * depth + 1) / 6 + UNIT_BEND * largest * depth
    cubic += depth * (depth - 1) * largest / root
    return ClosedForms(
        gradient=largest * math.sqrt(1 + depth * once**2 * output_norm**2 / (width * row_norm**2)),
        hessian=(a + math.sqrt(a**2 + 4 * b**2)) / 2,
        hessian_sum=a + b,
        hessian_cubic=unit * cubic + once * 2 * depth * largest / (root * row_norm),
    )
