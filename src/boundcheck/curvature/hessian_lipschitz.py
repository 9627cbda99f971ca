"""A lower estimate of the Lipschitz constant of the Hessian."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from boundcheck.contracts import LossFunction
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.lanczos import lanczos
from boundcheck.curvature.operator import DifferenceOperator


def hessian_lipschitz(
    losses: LossFunction | Sequence[LossFunction],
    theta: Tensor,
    perturbations: Sequence[Tensor],
    generator: torch.Generator,
    tolerance: float = 1e-2,
    retain: bool = True,
) -> float:
    """A lower estimate of γ₂, where ‖H(x) − H(y)‖ ≤ γ₂‖x − y‖ on a ball around θ.

    The largest, over the perturbations δ, of two lower bounds on γ₂:
        ‖H(θ+δ) − H(θ)‖ / ‖δ‖,                       by Lanczos on the difference, started along δ;
        2 ‖∇L(θ+δ) − ∇L(θ) − H(θ)δ‖ / ‖δ‖²,          the remainder ‖∫₀¹ (H(θ+sδ) − H(θ))δ ds‖ ≤ γ₂‖δ‖²/2.
    It is not an upper bound: the Hessian may change faster at other points. For piecewise linear activations γ₂ does
    not exist.

    Args:
        losses: L, or chunks whose sum is L.
        theta: θ (p,).
        perturbations: δ (p,) each; zeros are skipped.
        generator: for restarts of Lanczos.
        tolerance: relative accuracy of the norms.
        retain: as in HessianOperator.

    Returns: the estimate, in units of the loss over those of θ cubed; 0 without a perturbation.

    References: Nesterov, Polyak 2006 (the remainder's bound).
    """
    centre = HessianOperator(losses, theta, retain)
    estimates = [0.0]
    for delta in perturbations:
        length = torch.linalg.vector_norm(delta, dtype=torch.float64).item()
        if length == 0:
            continue
        moved = HessianOperator(losses, theta + delta, retain)
        remainder = moved.gradient - centre.gradient - centre.matvec(delta)
        estimates.append(2 * torch.linalg.vector_norm(remainder, dtype=torch.float64).item() / length**2)
        change = DifferenceOperator(moved, centre)
        extreme = lanczos(change, generator, by_magnitude=True, tolerance=tolerance, start=delta)
        estimates.append(extreme.eigenvalues[0].abs().item() / length)
    return max(estimates)
