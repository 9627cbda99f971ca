"""A control for GAM: the gradient at a point with a larger gradient norm, without a flatness term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.landscape import Landscape
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.methods.variant import BaseVariant, MultiPassMethod
from boundcheck.settings import CountOrZero, NotNegative, check, settings


class AscentOnly(MultiPass):
    """The base optimizer steps along ∇L(θ + ρ f̂), f = ∇‖∇L(θ)‖. It is SAM with ascent on the gradient norm.

    Accelerated GAM takes most of its gradients at such points; this method does only that. It needs two gradients and
    one Hessian-vector product per step. The closure returns the loss and does not call backward.

    Args:
        base: the optimizer that makes the step.
        rho: ρ ≥ 0, in the unit of θ.
        rho_min: ρ falls with the learning rate, to `rho_min` where that is 0; None: it does not.
        rho_warmup: steps in which ρ grows to its full value, in equal parts.
        model: the network, if its batch normalisation shall count the first pass only.
        num_stacked: k seeds trained at once.
    """

    second_order = True

    def __init__(
        self,
        base: Optimizer,
        rho: float,
        *,
        rho_min: float | None = None,
        rho_warmup: int = 0,
        model: nn.Module | None = None,
        num_stacked: int = 1,
    ) -> None:
        schedules = {"rho": (rho_min, rho_warmup)}
        super().__init__(base, {"rho": rho}, schedules, model=model, num_stacked=num_stacked)

    def direction(self, landscape: Landscape, rho: Any) -> Tensor:
        """∇L(θ + ρ f̂) (k, p)."""
        landscape.move_along(landscape.norm_gradient(), rho)
        return landscape.gradient_here()

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse a negative ρ."""
        check("rho", group["rho"], NotNegative)


@settings
class AscentOnlyMethod(MultiPassMethod):
    """AscentOnly as a config variant; `base` is a variant of sgd or adamw, the rest are its arguments."""

    base: BaseVariant
    rho: NotNegative
    rho_min: NotNegative | None = None
    rho_warmup: CountOrZero = 0

    num_gradients: ClassVar[int] = 3
    second_order: ClassVar[bool] = True
    wrapper: ClassVar[type[MultiPass]] = AscentOnly
