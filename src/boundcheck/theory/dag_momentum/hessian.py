"""An explicit bound on the Hessian of the loss of any DAG network, by sums over its paths. Derived here.

Layers 0 (the input) … L (the output) in topological order, widths n_l, parents P(l) ⊂ {0 … l − 1}:
    z_l = Σ_{j ∈ P(l)} W_lj x_j + b_l,   x_l = g_l(z_l),   E = (scale/2) Σ_n ‖x_L^n − o^n‖².
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


class ActivationBounds(NamedTuple):
    """G0, G1, G2 = sup |g|, |g'|, |g''|; a linear layer has G0 = ∞."""

    value: float
    slope: float
    curvature: float


ACTIVATION_BOUNDS = {
    "sigmoid": ActivationBounds(1.0, 0.25, 1 / (6 * np.sqrt(3))),
    "tanh": ActivationBounds(1.0, 1.0, 4 / (3 * np.sqrt(3))),
    "linear": ActivationBounds(np.inf, 1.0, 0.0),
}


class PathSums(NamedTuple):
    """Bounds for directions v with ‖v‖ = 1, (..., num_samples): ‖dx_L[v]‖ ≤ `slope`, ‖d²x_L[v, v]‖ ≤ `curvature`."""

    slope: FloatArray
    curvature: FloatArray


def path_sums(
    parents: Sequence[Sequence[int]],
    activations: Sequence[str],
    weight_norms: Sequence[Sequence[npt.ArrayLike]],
    layer_norms: Sequence[npt.ArrayLike],
) -> PathSums:
    """How far the outputs of a DAG network move, to first and second order, when its weights and biases do.

    Statement, per sample, with X_j ≥ ‖x_j‖, ω_lj ≥ ‖W_lj‖₂, Y_l = √(1 + Σ_{j∈P(l)} X_j²) and the path sums
    Π_mm = 1, Π_lm = G1_l Σ_{j∈P(l), j≥m} ω_lj Π_jm:
        Z_l² = Y_l² + Σ_{m<l} (G1_m Y_m Σ_{j∈P(l)} ω_lj Π_jm)²,   A_l = G1_l Z_l,   A_0 = 0,
        B_l = G2_l Z_l² + G1_l (√(Σ_{j∈P(l)} A_j²) + Σ_{j∈P(l)} ω_lj B_j),   B_0 = 0.
    Proof: dz_l = Σ_j (V_lj x_j + W_lj dx_j) + c_l; ‖Σ_j V_lj x_j + c_l‖ ≤ ‖v_l‖ Y_l; unroll, Cauchy–Schwarz over the
    layers of v. d²z_l = Σ_j (2 V_lj dx_j + W_lj d²x_j), and dx_j depends on v_m with m < l only, 2‖v_l‖‖v_{<l}‖ ≤ 1.

    Args:
        parents: P(1) … P(L).
        activations: of layers 1 … L: sigmoid, tanh or linear.
        weight_norms: ω_lj for l = 1 … L, in the order of the parents; each a number or broadcastable to samples.
        layer_norms: X_0 … X_{L−1} (num_samples,), or numbers.

    Returns:
        A_L and B_L.
    """
    bounds = [ACTIVATION_BOUNDS[name] for name in activations]
    X = [floats(norm)[0] for norm in layer_norms]
    zero = np.zeros_like(X[0])
    Y: list[FloatArray] = []
    Pi: list[list[FloatArray]] = [[zero + 1]]  # Pi[l][m], m = 0 … l
    A, B = [zero], [zero]
    for layer_parents, omegas, (_, slope, curvature) in zip(parents, weight_norms, bounds, strict=True):
        level = len(A)
        weighted = list(zip(layer_parents, (floats(omega)[0] for omega in omegas), strict=True))
        Y.append(np.sqrt(1 + sum(X[j] ** 2 for j, _ in weighted)))
        reached = [sum((omega * Pi[j][m] for j, omega in weighted if j >= m), zero) for m in range(level)]
        # layer m = 0 is the input and has no weights of its own
        Z2 = Y[-1] ** 2 + sum(((bounds[m - 1].slope * Y[m - 1] * reached[m]) ** 2 for m in range(1, level)), zero)
        A.append(slope * np.sqrt(Z2))
        moved = np.sqrt(sum((A[j] ** 2 for j, _ in weighted), zero))
        bent = curvature * Z2 if curvature else zero  # not 0 · ∞ behind a linear layer whose values have no bound
        B.append(bent + slope * (moved + sum((omega * B[j] for j, omega in weighted), zero)))
        Pi.append([slope * r for r in reached] + [zero + 1])
    return PathSums(A[-1], B[-1])


def hessian_bound(sums: PathSums, residual_norms: npt.ArrayLike, scale: float) -> FloatArray:
    """Upper bound on ‖∇²E(w)‖ for E = (scale/2) Σ_n ‖x_L^n − o^n‖²: scale Σ_n (A_n² + ‖x_L^n − o^n‖ B_n).

    Proof: ⟨v, ∇²E v⟩ = scale Σ_n (‖dx_L^n[v]‖² + ⟨x_L^n − o^n, d²x_L^n[v, v]⟩).

    Args:
        sums: A and B (num_samples,).
        residual_norms: ‖x_L^n − o^n‖ (num_samples,).
        scale: 1/N for a mean over N samples.
    """
    (r,) = floats(residual_norms)
    reject("scale", scale, scale <= 0, "scale > 0")
    return scale * np.sum(sums.slope**2 + r * sums.curvature, axis=-1)


def sublevel_hessian_bound(sums: PathSums, loss: npt.ArrayLike, scale: float) -> FloatArray:
    """Upper bound on ‖∇²E‖ wherever E ≤ `loss`: scale Σ A_n² + √(2 scale E) √(Σ B_n²), by Cauchy–Schwarz.

    With ω_lj at the ends of a step (norms are convex), it bounds the Hessian along the step as long as E does not
    rise, and a step that it certifies does not rise: at the first point where E exceeded its start the Taylor bound
    would be violated.
    """
    (E,) = floats(loss)
    reject("loss", E, E < 0, "loss >= 0")
    reject("scale", scale, scale <= 0, "scale > 0")
    return scale * np.sum(sums.slope**2, axis=-1) + np.sqrt(2 * scale * E) * np.sqrt(np.sum(sums.curvature**2, axis=-1))


def uniform_layer_norms(
    widths: Sequence[int], activations: Sequence[str], input_norms: npt.ArrayLike
) -> list[FloatArray]:
    """X_0 … X_{L−1} for any weights: ‖x_0‖ and √n_l G0_l; infinite behind a linear hidden layer.

    Args:
        widths: n_0 … n_L.
        activations: of layers 1 … L.
        input_norms: ‖x_0^n‖ (num_samples,).
    """
    (first,) = floats(input_norms)
    hidden = zip(widths[1:-1], activations[:-1], strict=True)
    return [first, *(np.sqrt(n) * ACTIVATION_BOUNDS[name].value + np.zeros_like(first) for n, name in hidden)]
