"""What rounding in float64 may make of a prediction's derivatives, and of the bounds on them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from boundcheck.theory.weight_norm.activation import UNIT
from boundcheck.theory.weight_norm.network import Passes
from boundcheck.theory.weight_norm.recursion import Bounds, LayerNorms, block_norms, turns

SMALLEST = 2.0**-1074  # half of it is the error of a product that underflows
LANCZOS = 1000  # operations on a coefficient of the norm's Lanczos matrix


def growth(num_operations: int) -> float:
    """γ_n = nu/(1 − nu): the relative error that n rounded operations may add up to.

    References: Higham 2002, Accuracy and stability of numerical algorithms, lemma 3.1.
    """
    return num_operations * UNIT / (1 - num_operations * UNIT)


def rounding_errors(at: Passes) -> Bounds:
    """Bounds on what rounding adds to ‖∇f‖₂ and ‖∇²f‖₂ at (θ, x), measured by automatic differentiation, or bounded.

    Statement: every entry of ∇f and ∇²f is a sum of products of entries of T_l, a^l, φ′(z^l), φ″(z^l), v and 1/r. In
    rounded arithmetic, and in any order, such a sum of n operations is off by at most γ_n times the sum of the moduli
    of its products, and by what its factors are off. Moduli sum up to at most P: `block_norms` of norms that hold for
    the moduli of the entries too, ‖T_l‖_F, ‖a^l‖, max|φ′|, max|φ″|, ‖v‖ and what follows from these for b and g. With
    P₊ that of the norms with their errors, the total is at most P₊ − P + γ_N P₊. The errors follow from the layer
    before: an entry of z is off by at most ‖T_l‖_{2→∞} (γ_m ‖a^{l−1}‖ + ‖δa^{l−1}‖), φ′ by that times max|φ″| and its
    own rounding, φ″ by that times max|φ‴|; second orders in the unit are left out. Norms are roots of sums of squares,
    which underflow below 10⁻¹⁶²: √(n 2⁻¹⁰⁷⁴) is added to each.
    N are the parameters, whose squares are summed, and what Lanczos does; the bounds do less.

    Returns: (n,) each; `last` is the error of ‖a^L‖.

    References: Higham 2002, Accuracy and stability of numerical algorithms, ch. 3 (running error analysis).
    """
    network, phi, depth = at.network, at.network.activation, at.network.depth
    one = at.f.new_ones(1)
    transfers = [network.transfer(layer) for layer in range(1, depth + 1)]
    transfer = [one, *(torch.linalg.matrix_norm(matrix).unsqueeze(-1) for matrix in transfers)]
    sizes = [torch.linalg.vector_norm(a, dim=-1) for a in at.a]
    errors, slope_errors, bend_errors = [torch.zeros_like(sizes[0])], [one * 0], [one * 0]
    for layer, matrix in enumerate(transfers, start=1):
        z, width = at.z[layer], matrix.shape[-2]
        row = torch.linalg.vector_norm(matrix, dim=-1).amax(-1, keepdim=True)
        moved = row * (growth(matrix.shape[-1] + 10) * sizes[layer - 1] + errors[-1])
        value, slope, bend = (error.amax(-1) for error in phi.rounding(z))
        slope_errors.append(moved * _largest(at.bends[layer]) + slope)
        bend_errors.append(moved * _largest(_third(phi.bend, z)) + bend)
        own = value + moved * (_largest(at.slopes[layer]) + slope_errors[-1])
        errors.append(math.sqrt(width) * own + _underflow(width))
    slopes, bends = [one, *map(_largest, at.slopes[1:])], [one, *map(_largest, at.bends[1:])]
    exact = _block_norms(at, transfer, sizes, slopes, bends, 0.0)
    sizes, slopes, bends = _sums(sizes, errors), _sums(slopes, slope_errors), _sums(bends, bend_errors)
    enlarged = _block_norms(at, transfer, sizes, slopes, bends, _underflow(max(network.widths)))
    num = sum(weight.shape[-1] * weight.shape[-2] for weight in network.weights) + 10 * sum(network.widths) + LANCZOS
    gradient, hessian = (
        above - below + growth(num) * above + _underflow(num)
        for above, below in ((enlarged.gradient, exact.gradient), (enlarged.hessian, exact.hessian))
    )
    return Bounds(gradient, hessian, errors[-1])


def _block_norms(
    at: Passes,
    transfer: list[Tensor],
    sizes: list[Tensor],
    slopes: list[Tensor],
    bends: list[Tensor],
    underflow: float,
) -> Bounds:
    """`recursion.block_norms` where nothing cancels: ‖b^{l−1}‖ ≤ ‖T_l‖_F ‖g^l‖ and ‖g^l‖ ≤ max|φ′| ‖b^l‖."""
    network, depth, one = at.network, at.network.depth, transfer[0]
    b, g = [one] * (depth + 1), [one] * (depth + 1)
    b[depth] = torch.linalg.vector_norm(at.b[depth], dim=-1) + underflow
    for layer in range(depth, 0, -1):
        g[layer] = slopes[layer] * b[layer] + underflow
        if layer > 1:
            b[layer - 1] = transfer[layer] * g[layer]
    layers = range(1, depth + 1)
    rows = [one, *(network.row_norms(layer).amin(-1, keepdim=True) for layer in layers)]
    gains = [one, *(network.gain(layer).abs().amax(-1, keepdim=True) for layer in layers)]
    turn, turn_bend = turns(rows, gains, network.trainable_gains, network.normalised)
    return block_norms(LayerNorms(network.s, transfer, sizes, slopes, bends, b, g, g, turn, turn_bend))


def _third(bend: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """φ‴(z)."""
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        (third,) = torch.autograd.grad(bend(leaf).sum(), leaf)
    return third


def _largest(values: Tensor) -> Tensor:
    return values.abs().amax(-1)


def _sums(values: list[Tensor], errors: list[Tensor]) -> list[Tensor]:
    return [value + error for value, error in zip(values, errors, strict=True)]


def _underflow(num: int) -> float:
    return math.sqrt(num * SMALLEST)
