"""The gradient filter that is equivalent to a latent training, built from the settings of the latent training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from torch import nn
from torch.optim import Optimizer

from boundcheck.methods import METHODS
from boundcheck.methods.binary_training import BinaryMethod
from boundcheck.methods.gradient_filter import GradientFilter
from boundcheck.methods.latent_adam import LatentAdamWMethod
from boundcheck.methods.latent_sgd import LatentDecoupledSGDMethod, LatentSGDMethod
from boundcheck.methods.moving_filters import (
    FrozenRootsFilter,
    HeldRateFilter,
    NormalisedFilter,
    RiccatiFilter,
    SumFilter,
)
from boundcheck.methods.state_space_filter import StateSpaceFilter
from boundcheck.registry import build_part
from boundcheck.settings import among, check, settings
from boundcheck.theory.arguments import FloatArray
from boundcheck.theory.binary_filter.mappings import FilterMap, StateSpaceMap, largest_real_rate, sgd_rates

LATENT = {kind: METHODS[kind] for kind in ("latent_sgd", "latent_sgd_decoupled", "latent_adamw", "latent_adam")}
LatentVariant = Annotated[Mapping[str, Any], among("methods", *LATENT)]
Approximation = Literal[
    "first_roots", "frozen_roots", "scaled_alpha", "scaled_alpha_no_momentum", "small_rates", "product", "zero_start"
]
OtherMapping = Literal["state_space", "riccati", Approximation]
FilterMapping = Literal["exact", OtherMapping]
APPROXIMATIONS: tuple[Approximation, ...] = get_args(Approximation)
MAPPINGS: tuple[OtherMapping, ...] = get_args(OtherMapping)
EXACT = ("exact", "state_space", "riccati")
EXACT_AT_A_CONSTANT_RATE = ("first_roots", "frozen_roots", "scaled_alpha")


def is_exact(mapping: str, rate_is_constant: bool) -> bool:
    """Whether a mapping gives exactly the bits of torch's SGD with momentum, at a constant rate or any schedule."""
    return mapping in EXACT or (rate_is_constant and mapping in EXACT_AT_A_CONSTANT_RATE)


def mapped_filter(
    latent: BinaryMethod, parameters: Sequence[nn.Parameter], mapping: FilterMapping = "exact"
) -> Optimizer:
    """The filter with the bits of a latent training, or an approximation to it.

    Args:
        latent: the latent method. There is no filter for Adam with weight decay inside the normalised gradient.
        parameters: the initial latent weights; they become bits.
        mapping: `exact`: as in theory.binary_filter.mappings. `riccati` and `state_space`: two exact forms for torch's
            SGD. Approximations to torch's SGD with momentum: `first_roots`, the rates of the first learning rate at all
            steps; `frozen_roots`, at each step the rates of its learning rate; `scaled_alpha`, α in proportion to the
            learning rate; `scaled_alpha_no_momentum`, the same with m_0 = 0; `small_rates`, α = ελ/(1−μ), γ = 1−μ;
            `product`, α = ελ, too small by the factor 1−μ; `zero_start`, as `scaled_alpha` with all averages 0 at the
            start, as in the released code.

    Raises:
        ValueError: there is no such filter.
    """
    check("mapping", mapping, FilterMapping)
    if isinstance(latent, LatentSGDMethod):
        return _of_sgd(latent, parameters, mapping)
    if isinstance(latent, LatentDecoupledSGDMethod) and mapping == "exact":
        return _of_decoupled(latent, parameters)
    if isinstance(latent, LatentAdamWMethod) and mapping == "exact":
        return NormalisedFilter(parameters, latent.lr, latent.weight_decay, latent.betas, latent.eps)
    raise ValueError(f"latent: {type(latent).__name__} has no filter of mapping {mapping!r}; allowed: latent_sgd")


def _of_sgd(latent: LatentSGDMethod, parameters: Sequence[nn.Parameter], mapping: str) -> Optimizer:
    lr, decay, momentum = latent.lr, latent.weight_decay, latent.momentum
    dampening = latent.dampening if momentum else 0.0  # torch ignores dampening without momentum
    is_plain = dampening == 0 and not latent.nesterov
    is_real = lr * decay <= largest_real_rate(momentum)
    if decay == 0 and mapping != "exact":
        raise ValueError(f"mapping: got {mapping}; allowed: exact (weight_decay is 0)")
    if decay == 0:
        return SumFilter(parameters, lr, momentum, dampening, latent.nesterov)
    if mapping == "exact" and momentum == 0:
        return GradientFilter(parameters, lr * decay, initial_inertia=decay)
    if mapping == "state_space" or (mapping == "exact" and not (is_plain and is_real)):
        return StateSpaceFilter(parameters, lr * decay, momentum, dampening, latent.nesterov, decay)
    if not (is_plain and is_real):
        why = "complex poles" if is_plain else "dampening or nesterov"
        raise ValueError(f"mapping: got {mapping}; allowed: exact, state_space ({why})")
    if mapping in ("exact", "riccati"):
        return RiccatiFilter(parameters, lr, decay, momentum)
    return _approximation(latent, parameters, mapping)


def _of_decoupled(latent: LatentDecoupledSGDMethod, parameters: Sequence[nn.Parameter]) -> Optimizer:
    lr, decay, momentum = latent.lr, latent.weight_decay, latent.momentum
    is_average = latent.form == "average"
    if decay == 0:
        return SumFilter(parameters, lr, momentum, is_average=is_average)
    inertia = decay if is_average else decay * (1 - momentum)
    if latent.hold_rate:
        return HeldRateFilter(parameters, lr, decay, momentum, inertia)
    return GradientFilter(parameters, lr * decay, 1 - momentum, initial_inertia=inertia)


def _approximation(latent: LatentSGDMethod, parameters: Sequence[nn.Parameter], mapping: str) -> Optimizer:
    lr, decay, momentum = latent.lr, latent.weight_decay, latent.momentum
    if mapping == "frozen_roots":
        return FrozenRootsFilter(parameters, lr, decay, momentum)
    roots = sgd_rates(lr, decay, momentum)
    alpha, gamma = float(roots.alpha), float(roots.gamma)
    if mapping in ("small_rates", "product"):
        alpha, gamma = lr * decay / (1 - momentum if mapping == "small_rates" else 1), 1 - momentum
    start = 0.0 if mapping == "zero_start" else decay
    return GradientFilter(
        parameters,
        alpha,
        gamma,
        decay=() if mapping == "first_roots" else ("alpha",),
        initial_inertia=start,
        initial_momentum=0.0 if mapping == "scaled_alpha_no_momentum" else start,
    )


@settings
class MappedFilterMethod(BinaryMethod):
    """`mapped_filter` as a config variant: training without latent weights that gives the bits of a latent training.

    Args:
        latent: the variant of the latent training; its real parameters are trained the same way.
        mapping: see `mapped_filter`.
    """

    latent: LatentVariant
    mapping: FilterMapping = "exact"

    @property
    def real(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The variant that trains the real parameters."""
        return self.latent_method().real

    @property
    def init_scale(self) -> float:  # type: ignore[override]
        """Factor of the initial latent weights, before they become bits."""
        return self.latent_method().init_scale

    @property
    def lr(self) -> float:
        """The latent training's learning rate."""
        return self.latent["lr"]

    def latent_method(self) -> BinaryMethod:
        """The latent method that `latent` describes.

        Raises:
            ValueError: `latent` is not a valid variant.
        """
        return build_part("latent", LATENT, self.latent)

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """See BinaryMethod."""
        return mapped_filter(self.latent_method(), parameters, self.mapping)

    def as_filter(self, factors: FloatArray) -> FilterMap | StateSpaceMap | None:
        """See BinaryMethod: the filter of the latent training; None if the mapping is an approximation."""
        return self.latent_method().as_filter(factors) if self.mapping in EXACT else None
