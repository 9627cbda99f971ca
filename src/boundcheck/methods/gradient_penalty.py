"""A penalty on the gradient norm, computed by a finite difference of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.landscape import Landscape
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.methods.sam import sam_gradient
from boundcheck.methods.variant import BaseVariant, MultiPassMethod
from boundcheck.settings import CountOrZero, NotNegative, Positive, check, settings


class GradientPenalty(MultiPass):
    """Gradient descent on L(θ) + λ‖∇L(θ)‖, with ∇‖∇L‖ taken as [∇L(θ + r ĝ) − ∇L(θ)]/r. Two gradients per step.

    The base optimizer steps along (1 − a) ∇L(θ) + a ∇L(θ + r ĝ), a = λ/r, ĝ = g/‖g‖; a = 1 is SAM with ρ = r.
    The difference is exact on quadratics; elsewhere its error is O(r).

    Args:
        base: the optimizer that makes the step.
        lam: λ ≥ 0, in the unit of θ.
        radius: r > 0, in the unit of θ.
        lam_min: λ falls with the learning rate, to `lam_min` where that is 0; None: it does not.
        lam_warmup: steps in which λ grows to its full value, in equal parts.
        model: the network, if its batch normalisation shall count the first pass only.
        num_stacked: k seeds trained at once.

    References:
        Zhao et al. 2022, Penalizing gradient norm for efficiently improving generalization.
    """

    def __init__(
        self,
        base: Optimizer,
        lam: float,
        radius: float,
        *,
        lam_min: float | None = None,
        lam_warmup: int = 0,
        model: nn.Module | None = None,
        num_stacked: int = 1,
    ) -> None:
        numbers = {"lam": lam, "radius": radius}
        schedules = {"lam": (lam_min, lam_warmup)}
        super().__init__(base, numbers, schedules, model=model, num_stacked=num_stacked)

    def direction(self, landscape: Landscape, lam: Any, radius: Any) -> Tensor:
        """(1 − a) ∇L(θ) + a ∇L(θ + r ĝ) (k, p)."""
        far_gradient = sam_gradient(landscape, radius)
        return torch.lerp(landscape.gradient, far_gradient, lam / radius, out=far_gradient)

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse a negative λ, and an r that is not positive."""
        check("lam", group["lam"], NotNegative)
        check("radius", group["radius"], Positive)


@settings
class GradientPenaltyMethod(MultiPassMethod):
    """GradientPenalty as a config variant; `base` is a variant of sgd or adamw, the rest are its arguments."""

    base: BaseVariant
    lam: NotNegative
    radius: Positive
    lam_min: NotNegative | None = None
    lam_warmup: CountOrZero = 0

    num_gradients: ClassVar[int] = 2
    wrapper: ClassVar[type[MultiPass]] = GradientPenalty
