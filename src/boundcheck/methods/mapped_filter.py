"""The gradient filter that a latent training is, built from the latent training's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from boundcheck.methods.binary_training import BinaryMethod
from boundcheck.methods.gradient_filter import GradientFilter
from boundcheck.methods.latent_adam import LatentAdamMethod, LatentAdamWMethod
from boundcheck.methods.latent_sgd import LatentDecoupledSGDMethod, LatentSGDMethod
from boundcheck.methods.moving_filters import (
    FrozenRootsFilter,
    HeldRateFilter,
    NormalisedFilter,
    RiccatiFilter,
    SumFilter,
)
from boundcheck.methods.state_space_filter import StateSpaceFilter
from boundcheck.theory.binary_filter import largest_real_rate, sgd_rates

LATENT: dict[str, type[BinaryMethod]] = {
    "latent_sgd": LatentSGDMethod,
    "latent_sgd_decoupled": LatentDecoupledSGDMethod,
    "latent_adamw": LatentAdamWMethod,
    "latent_adam": LatentAdamMethod,
}
APPROXIMATIONS = (
    "first_roots",
    "frozen_roots",
    "scaled_alpha",
    "scaled_alpha_no_momentum",
    "small_rates",
    "product",
    "zero_start",
)


def mapped_filter(latent: BinaryMethod, parameters: Sequence[nn.Parameter], mapping: str = "exact") -> Optimizer:
    """The filter whose bits are those of a latent training, or an approximation to it.

    Args:
        latent: the latent method; of Adam with the decay inside the normalised gradient there is no filter.
        parameters: the initial latent weights; they become bits.
        mapping: `exact`: the row of the mapping table. `riccati` and `state_space`: these forms of torch's SGD.
            Approximations to torch's SGD with momentum: `first_roots`, its rates at the first learning rate for ever;
            `frozen_roots`, those of each learning rate; `scaled_alpha`, α in proportion to the learning rate;
            `scaled_alpha_no_momentum`, that from m_0 = 0; `small_rates`, α = ελ/(1−μ), γ = 1−μ; `product`, α = ελ,
            too small by 1−μ; `zero_start`, `scaled_alpha` from a start of zero, which is what the released code does.

    Raises:
        ValueError: there is no such filter.
    """
    if isinstance(latent, LatentDecoupledSGDMethod) and mapping == "exact":
        return _of_decoupled(latent, parameters)
    if isinstance(latent, LatentAdamWMethod) and mapping == "exact":
        return NormalisedFilter(parameters, latent.lr, latent.weight_decay, latent.betas, latent.eps)
    if not isinstance(latent, LatentSGDMethod):
        raise ValueError(f"latent: {type(latent).__name__} has no filter of mapping {mapping!r}; allowed: latent_sgd")
    if mapping in APPROXIMATIONS:
        return _approximation(latent, parameters, mapping)
    lr, decay, momentum = latent.lr, latent.weight_decay, latent.momentum
    is_plain = latent.dampening == 0 and not latent.nesterov
    if decay == 0:
        if not is_plain:
            raise ValueError("latent: got weight_decay 0 with dampening or nesterov; allowed: neither")
        return SumFilter(parameters, lr, momentum)
    is_real = lr * decay <= largest_real_rate(momentum)
    if mapping == "riccati" or (mapping == "exact" and is_plain and is_real and momentum > 0):
        if not (is_plain and is_real):
            raise ValueError("mapping: got riccati; allowed: state_space (dampening, nesterov or complex poles)")
        return RiccatiFilter(parameters, lr, decay, momentum)
    if mapping in ("exact", "state_space"):
        if mapping == "exact" and momentum == 0:
            return GradientFilter(parameters, lr * decay, initial_inertia=decay)
        return StateSpaceFilter(parameters, lr * decay, momentum, latent.dampening, latent.nesterov, decay)
    raise ValueError(f"mapping: got {mapping!r}; allowed: exact, riccati, state_space, {', '.join(APPROXIMATIONS)}")


def _of_decoupled(latent: LatentDecoupledSGDMethod, parameters: Sequence[nn.Parameter]) -> Optimizer:
    decay, momentum = latent.weight_decay, latent.momentum
    if decay == 0:
        return SumFilter(parameters, latent.lr, momentum)
    if latent.hold_rate:
        return HeldRateFilter(parameters, latent.lr, decay, momentum)
    inertia = decay * (1 - momentum) if latent.form == "heavy_ball" else decay
    return GradientFilter(parameters, latent.lr * decay, 1 - momentum, initial_inertia=inertia)


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


@dataclass(frozen=True)
class MappedFilterMethod(BinaryMethod):
    """`mapped_filter` as a config variant: it trains without latent weights, with the bits of the latent training.

    Args:
        latent: the variant of the latent training; its real parameters are trained alike.
        mapping: see `mapped_filter`.
    """

    latent: Mapping[str, Any]
    mapping: str = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()

    @property
    def real(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The variant that trains the real parameters."""
        return self.latent_method().real

    @property
    def init_scale(self) -> float:  # type: ignore[override]
        """What the initial latent weights are multiplied by, before they are made bits."""
        return self.latent_method().init_scale

    @property
    def lr(self) -> float:
        """The latent training's learning rate."""
        return self.latent["lr"]

    def latent_method(self) -> BinaryMethod:
        """The latent method that `latent` describes.

        Raises:
            ValueError: it describes none.
        """
        kind = self.latent.get("kind") if isinstance(self.latent, Mapping) else None
        if kind not in LATENT:
            raise ValueError(f"latent: got kind {kind!r}; allowed: {', '.join(LATENT)}")
        try:
            return LATENT[kind](**{name: value for name, value in self.latent.items() if name != "kind"})
        except (TypeError, ValueError) as error:
            raise ValueError(f"latent: {error}") from error

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """See BinaryMethod."""
        return mapped_filter(self.latent_method(), parameters, self.mapping)
