"""Surrogate-gap guided SAM (GSAM): SAM that also reduces the gap between the worst loss nearby and the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.flat import perpendicular
from boundcheck.methods.landscape import Landscape
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.methods.sam import sam_gradient
from boundcheck.methods.variant import BaseVariant, MultiPassMethod
from boundcheck.settings import CountOrZero, NotNegative, check, settings


def gsam_gradient(landscape: Landscape, rho: Any, alpha: Any) -> Tensor:
    """g_p − α g⊥ (k, p), where g_p = ∇L(θ + ρ ĝ) and g⊥ is the part of g = ∇L(θ) orthogonal to g_p."""
    ascended = sam_gradient(landscape, rho)
    across = perpendicular(landscape.gradient, ascended, out=landscape.room("across"))
    return ascended.sub_(across.mul_(alpha))


class GSAM(MultiPass):
    """GSAM: the base optimizer steps along g_p − α g⊥: descent on the worst loss nearby, and ascent on L along g⊥.

    g = ∇L(θ), g_p = ∇L(θ + ρ g/‖g‖), and g = g∥ + g⊥ with parts parallel and orthogonal to g_p. The gap
    L(θ + ε) − L(θ) decreases, and the worst loss does not increase. Two gradients per step; α = 0 is SAM.

    Args:
        base: the optimizer that makes the step.
        rho: ρ ≥ 0, in the unit of θ.
        alpha: α ≥ 0.
        rho_min: ρ falls with the learning rate, to `rho_min` where that is 0; None: it does not.
        rho_warmup: steps in which ρ grows to its full value, in equal parts.
        alpha_min: as `rho_min`, of α.
        alpha_warmup: as `rho_warmup`, of α.
        model: the network, if its batch normalisation shall count the first pass only.
        num_stacked: k seeds trained at once.

    References:
        Zhuang et al. 2022, Surrogate gap minimization improves sharpness-aware training.
    """

    def __init__(
        self,
        base: Optimizer,
        rho: float,
        alpha: float,
        *,
        rho_min: float | None = None,
        rho_warmup: int = 0,
        alpha_min: float | None = None,
        alpha_warmup: int = 0,
        model: nn.Module | None = None,
        num_stacked: int = 1,
    ) -> None:
        numbers = {"rho": rho, "alpha": alpha}
        schedules = {"rho": (rho_min, rho_warmup), "alpha": (alpha_min, alpha_warmup)}
        super().__init__(base, numbers, schedules, model=model, num_stacked=num_stacked)

    def direction(self, landscape: Landscape, rho: Any, alpha: Any) -> Tensor:
        """g_p − α g⊥ (k, p)."""
        return gsam_gradient(landscape, rho, alpha)

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse a negative ρ or α."""
        check("rho", group["rho"], NotNegative)
        check("alpha", group["alpha"], NotNegative)


@settings
class GSAMMethod(MultiPassMethod):
    """GSAM as a config variant; `base` is a variant of sgd or adamw, the rest are arguments of `GSAM`."""

    base: BaseVariant
    rho: NotNegative
    alpha: NotNegative
    rho_min: NotNegative | None = None
    rho_warmup: CountOrZero = 0
    alpha_min: NotNegative | None = None
    alpha_warmup: CountOrZero = 0

    num_gradients: ClassVar[int] = 2
    wrapper: ClassVar[type[MultiPass]] = GSAM
