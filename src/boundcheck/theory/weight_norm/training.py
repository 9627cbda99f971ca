"""What bounds on a weight-normalised predictor say of its training by gradient descent on the square loss.

L(θ) = (1/n) Σ_i ‖f(θ; x_i) − y_i‖², so that ∇²L = (2/n) Σ_i (J_iᵀJ_i + Σ_k (f_ik − y_ik) ∇²f_ik): a small predictor
Hessian makes L smooth, and convex along directions that move the average prediction. All derived here; F and H are
bounds on ‖J_i‖₂ and on ‖∇²(ρᵀf)‖₂ for unit ρ, such as those of `weight_norm`, and hold for every input.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from boundcheck.theory.weight_norm.bounds import a_priori_bounds, matrix_norms, parameter_bounds
from boundcheck.theory.weight_norm.network import Network
from boundcheck.theory.weight_norm.recursion import Bounds


def row_norm_after_step(row_norm: npt.ArrayLike, lr: npt.ArrayLike, gradient_norm: npt.ArrayLike) -> npt.ArrayLike:
    """The norm of a row after a step of plain gradient descent, on a full or a mini-batch.

    Statement: ‖w⁺‖² = ‖w‖² + η²‖∇_w L‖², for ∇_w L ⟂ w. So row norms never fall, and are at least ‖w‖ on the whole way
    to w⁺. With heavy-ball momentum v ← μv + g, w ← w − ηv the equation fails, but norms still never fall, for
    ⟨w_t, v_{t+1}⟩ = μ(⟨w_{t−1}, v_t⟩ − η‖v_t‖²) ≤ 0 by induction. With weight decay or Adam's scaling they may.
    The squared Frobenius norm of a layer obeys the same equation.

    Args:
        row_norm: ‖w‖ before the step.
        lr: η.
        gradient_norm: ‖∇_w L‖ of the row.
    """
    return np.hypot(np.asarray(row_norm), np.asarray(lr) * np.asarray(gradient_norm))


def loss_smoothness(bounds: Bounds, residual: Tensor, travelled: Tensor, largest_residual: Tensor) -> Tensor:
    """β, an upper bound on the largest eigenvalue of ∇²L along a segment.

    Statement: λ_max(∇²L) ≤ 2F² + 2 min(R + dF, R_max) H =: β on a segment of length d, where F and H hold.

    Args:
        bounds: F and H along the segment.
        residual: R ≥ (1/n) Σ_i ‖f_i − y_i‖ at its start; √L is one (Jensen).
        travelled: d.
        largest_residual: R_max ≥ ‖f_i − y_i‖ on the segment; infinity where none is known.
    """
    moved = torch.minimum(residual + travelled * bounds.gradient, largest_residual)
    return 2 * bounds.gradient**2 + 2 * moved * bounds.hessian


def segment_bounds(
    network: Network, output: Tensor, input_norm: float, lr: Tensor, gradient_norms: list[Tensor]
) -> tuple[Bounds, Tensor]:
    """F and H of K outputs on the way from θ to θ − η∇L, and ‖V‖₂ there.

    Statement: layers move by at most η‖∇_{W^l} L‖, so that `parameter_bounds` in these radii hold. With normalisation
    and without trained gains rows do not shrink on the way either, so that `a_priori_bounds` at the row norms of θ and
    ‖V‖₂ + η‖∇_V L‖ hold too: the smaller of both counts. Neither falls as η grows.

    Args:
        network: θ, its hidden layers.
        output: V (..., K, m_L).
        input_norm: ‖x‖, equal for all inputs.
        lr: η (...).
        gradient_norms: Frobenius norms (...) of ∇L by W¹ … W^L (and gains, where they are trained), and V.
    """
    steps = [(lr * norm).unsqueeze(-1) for norm in gradient_norms]
    norms = matrix_norms(output)
    reached = norms.euclidean + steps[-1]
    bounds = parameter_bounds(network, input_norm, steps, norms)
    if network.normalised and not network.trainable_gains:
        rows = [network.row_norms(layer).amin(-1, keepdim=True) for layer in range(1, network.depth + 1)]
        gains = [network.gain(layer).abs().amax(-1, keepdim=True) for layer in range(1, network.depth + 1)]
        length, s = torch.as_tensor(input_norm, dtype=torch.float64), network.scales
        other = a_priori_bounds(network.widths, rows, reached, length, network.activation, s, None, gains)
        bounds = Bounds(*(torch.fmin(near, far) for near, far in zip(bounds, other, strict=True)))
    return bounds, reached


def certified_step(
    network: Network,
    output: Tensor,
    input_norm: float,
    gradient_norms: list[Tensor],
    residual: Tensor,
    target_norm: float = 1.0,
    omega: float | Tensor = 1.0,
) -> tuple[Tensor, Tensor]:
    """A step length at which gradient descent surely decreases the loss, from θ, the gradient and the loss.

    Statement: with β(η) of `smoothness_along_step`, which does not decrease in η, η_ω = ω/β(ω/β(0)) satisfies
    η_ω ≤ ω/β(η_ω), so that L(θ − η_ω∇L) ≤ L(θ) − η_ω(1 − ω/2) ‖∇L‖² for 0 < ω < 2.

    Args:
        network: θ, its hidden layers.
        output: V (..., K, m_L).
        input_norm: ‖x‖, equal for all inputs.
        gradient_norms: as for `segment_bounds`.
        residual: R ≥ (1/n) Σ_i ‖f_i − y_i‖ (...), such as √L; infinity where it is not known.
        target_norm: Y ≥ ‖y_i‖.
        omega: ω, a number or (...).

    Returns: η_ω (...) and β(0) (...).
    """
    at_rest = smoothness_along_step(
        network, output, input_norm, torch.zeros_like(residual), gradient_norms, residual, target_norm
    )
    reach = omega / at_rest
    ahead = smoothness_along_step(network, output, input_norm, reach, gradient_norms, residual, target_norm)
    return omega / ahead, at_rest


def loss_without_targets(
    output: Tensor, output_gradient: Tensor, mean_square: Tensor, target_norm: float = 1.0
) -> Tensor:
    """L(θ) of the square loss from its gradient by V and the size of the predictions.

    Statement: L = Y² + ⟨V, ∇_V L⟩ − (1/n) Σ_i ‖f_i‖² where ‖y_i‖ = Y for all i, as of one-hot targets and of ±1.
    Proof: f is linear in V, so that ⟨V, ∇_V L⟩ = (2/n) Σ_i ⟨f_i − y_i, f_i⟩.

    Args:
        output: V (..., K, m_L).
        output_gradient: ∇_V L (..., K, m_L).
        mean_square: (1/n) Σ_i ‖f_i‖² (...).
        target_norm: Y.
    """
    return target_norm**2 + (output * output_gradient).sum((-2, -1)) - mean_square


def smoothness_along_step(
    network: Network,
    output: Tensor,
    input_norm: float,
    lr: Tensor,
    gradient_norms: list[Tensor],
    residual: Tensor,
    target_norm: float = 1.0,
) -> Tensor:
    """β(η): λ_max(∇²L) ≤ β(η) on the way from θ to θ − η∇L; see `loss_smoothness`, with R_max = Y + s_{L+1}‖V‖A_L.

    Args: as for `certified_step`, and lr: η (...).

    Returns: β(η) (...).
    """
    bounds, reached = segment_bounds(network, output, input_norm, lr, gradient_norms)
    total = torch.stack([norm**2 for norm in gradient_norms]).sum(0).sqrt()
    largest = target_norm + network.s[-1] * reached * bounds.last
    beta = loss_smoothness(bounds, residual.unsqueeze(-1), (lr * total).unsqueeze(-1), largest)
    return beta.squeeze(-1)


def descent_bound(
    loss: npt.ArrayLike, gradient_norm: npt.ArrayLike, lr: npt.ArrayLike, smoothness: npt.ArrayLike
) -> npt.ArrayLike:
    """The loss after a step of gradient descent of any length.

    Statement: L(θ − η∇L) ≤ L(θ) − η (1 − ηβ/2) ‖∇L(θ)‖², where λ_max(∇²L) ≤ β on the way.

    Args:
        loss: L(θ).
        gradient_norm: ‖∇L(θ)‖.
        lr: η.
        smoothness: β of that η.
    """
    loss, norm, lr, beta = (np.asarray(v, dtype=np.float64) for v in (loss, gradient_norm, lr, smoothness))
    return loss - lr * (1 - lr * beta / 2) * norm**2
