"""Sharpness-aware minimisation: the gradient at the worst point near θ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.flat import along
from boundcheck.methods.landscape import Landscape
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.methods.variant import BaseVariant, MultiPassMethod
from boundcheck.settings import CountOrZero, NotNegative, check, settings


def sam_gradient(landscape: Landscape, rho: Any) -> Tensor:
    """∇L(θ + ρ ĝ) (k, p), ĝ = g/(‖g‖ + ξ), g = ∇L(θ): the gradient of max_{‖ε‖≤ρ} L(θ + ε), to first order in ρ."""
    landscape.move_back()
    landscape.move_along(landscape.gradient, rho)
    return landscape.gradient_here()


class SAM(MultiPass):
    """SAM: the base optimizer steps along ∇L(θ + ε), ε = ρ g/‖g‖ with g = ∇L(θ). Two gradients per step.

    Adaptive (ASAM): ε = ρ T²g/‖Tg‖ with T = |θ|, element by element, so that ε follows the scale of the weights.

        optimizer = SAM(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), rho=0.05, model=model)
        optimizer.step(closure)

    Args:
        base: the optimizer that makes the step.
        rho: ρ ≥ 0, in the unit of θ; 0.05 is usual, for ASAM 10 to 40 times as much.
        adaptive: ASAM.
        rho_min: ρ falls with the learning rate, to `rho_min` where that is 0; None: it does not.
        rho_warmup: steps in which ρ grows to its full value, in equal parts.
        model: the network, if its batch normalisation shall count the first pass only.
        num_stacked: k seeds trained at once.

    References:
        Foret et al. 2021, Sharpness-aware minimization; Kwon et al. 2021, ASAM.
    """

    def __init__(
        self,
        base: Optimizer,
        rho: float,
        adaptive: bool = False,
        *,
        rho_min: float | None = None,
        rho_warmup: int = 0,
        model: nn.Module | None = None,
        num_stacked: int = 1,
    ) -> None:
        check("adaptive", adaptive, bool)
        self.adaptive = adaptive
        schedules = {"rho": (rho_min, rho_warmup)}
        super().__init__(base, {"rho": rho}, schedules, model=model, num_stacked=num_stacked)

    def direction(self, landscape: Landscape, rho: Any) -> Tensor:
        """∇L(θ + ε) (k, p)."""
        if not self.adaptive:
            return sam_gradient(landscape, rho)
        scale = torch.abs(landscape.theta, out=landscape.room("scale"))
        step = torch.mul(scale, landscape.gradient, out=landscape.room("step"))
        landscape.move_by(along(step, rho, out=step).mul_(scale))
        return landscape.gradient_here()

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse a negative ρ."""
        check("rho", group["rho"], NotNegative)


@settings
class SAMMethod(MultiPassMethod):
    """SAM as a config variant; `base` is a variant of sgd or adamw, the rest are arguments of `SAM`."""

    base: BaseVariant
    rho: NotNegative
    adaptive: bool = False
    rho_min: NotNegative | None = None
    rho_warmup: CountOrZero = 0

    num_gradients: ClassVar[int] = 2
    wrapper: ClassVar[type[MultiPass]] = SAM


@settings
class ASAMMethod(SAMMethod):
    """Adaptive SAM, whose radius is measured in units of each |θᵢ|: `sam` with `adaptive: true`."""

    adaptive: bool = True
