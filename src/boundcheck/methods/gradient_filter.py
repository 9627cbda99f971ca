"""Binary weights that follow the sign of a filtered gradient, without latent weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.binary_training import BitsMethod, RealVariant, flip, set_to_signs
from boundcheck.settings import NotNegative, ShareAboveZero, check, settings
from boundcheck.theory.arguments import FloatArray
from boundcheck.theory.binary_filter.mappings import FilterMap

Rate = Literal["alpha", "gamma", "delta"]
Rates = Sequence[Rate]
RATES = ("delta", "gamma", "alpha")  # from the gradient to the bit
AVERAGES = {"delta": "inner_momentum", "gamma": "momentum", "alpha": "inertia"}


class GradientFilter(Optimizer):
    """A cascade of exponential averages of the gradient. A bit flips if the last average, its inertia, has its sign.

    m ← (1−γ) m + γ g, I ← (1−α) I + α m, b ← −b where I b > 0. With `gamma` 1 there is only the average I (first
    order), unless gamma decays. With `delta` below 1 there is one more average before m (third order). The parameters
    become ±1 (0 becomes +1). The state has one tensor per average. A rate in `decay` is multiplied by lr/initial_lr, so
    a learning-rate scheduler schedules it. The learning rate itself starts at 1 and has no other meaning.

    Args:
        params: binary parameters, or groups of them with their own rates.
        alpha: α in (0, 1], the weight of a new value in the inertia.
        gamma: γ in (0, 1].
        delta: δ in (0, 1].
        decay: which of alpha, gamma, delta follow the learning-rate schedule.
        initial_inertia: c in I_0 = −c w_0, where w_0 are the initial values of the parameters; 0 forgets their signs.
        initial_momentum: c' in m_0 = −c' w_0, for every average before the last.

    Raises:
        ValueError: a rate is outside (0, 1], or an initial value is negative.

    References:
        Quist, Li, van Gemert 2023, Understanding weight-magnitude hyperparameters in training binary networks,
        arXiv:2303.02452; after Helwegen et al. 2019, Latent weights do not exist, arXiv:1906.02107.
    """

    def __init__(
        self,
        params: Iterable[Any],
        alpha: float,
        gamma: float = 1.0,
        delta: float = 1.0,
        *,
        decay: Sequence[str] = ("alpha",),
        initial_inertia: float = 0.0,
        initial_momentum: float = 0.0,
    ) -> None:
        defaults = {
            "lr": 1.0,
            "alpha": alpha,
            "gamma": gamma,
            "delta": delta,
            "decay": decay if isinstance(decay, str) else list(decay),
        }
        start = {"initial_inertia": initial_inertia, "initial_momentum": initial_momentum}
        super().__init__(params, defaults | start)

    @torch.no_grad()
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, binarise its parameters and set the initial averages."""
        for name, value in self.defaults.items():
            param_group.setdefault(name, value)
        self.check(param_group)
        super().add_param_group(param_group)
        param_group.setdefault("initial_lr", param_group["lr"])
        for p in param_group["params"]:
            self.state[p] = self.start(param_group, p)
            set_to_signs(p)

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise a ValueError if a number of a group is not allowed."""
        for name in RATES:
            check(name, group[name], ShareAboveZero)
        for name in ("initial_inertia", "initial_momentum"):
            check(name, group[name], NotNegative)
        check("decay", group["decay"], Rates)

    def start(self, group: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
        """The averages of a parameter before the first step. Its values are not yet binary."""
        # an average with rate 1 equals its input, unless the rate decays
        used = [name for name in RATES if name == "alpha" or name in group["decay"] or group[name] < 1]
        scales = {name: group["initial_inertia" if name == "alpha" else "initial_momentum"] for name in used}
        return {AVERAGES[name]: p.detach() * -scale + 0.0 for name, scale in scales.items()}

    def rates(self, group: dict[str, Any]) -> tuple[dict[str, float], float]:
        """The rates of this step, and the factor that the inertia is multiplied by before."""
        factor = group["lr"] / group["initial_lr"]
        decaying = {name: factor if name in group["decay"] else 1.0 for name in RATES}
        return {name: min(group[name] * decaying[name], 1.0) for name in RATES}, 1.0

    def inputs(self, group: Mapping[str, Any], parameters: Sequence[Tensor]) -> list[Tensor]:
        """The input of the filter: the gradients."""
        return [p.grad for p in parameters]  # type: ignore[misc]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss; optional.

        Returns:
            The closure's result.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(group, parameters)
        return loss

    def _update(self, group: dict[str, Any], parameters: Sequence[Tensor]) -> None:
        rates, keep = self.rates(group)
        signal = self.inputs(group, parameters)
        for name in RATES:
            average = AVERAGES[name]
            if average in self.state[parameters[0]]:
                averages = [self.state[p][average] for p in parameters]
                if name == "alpha" and keep != 1.0:
                    torch._foreach_mul_(averages, keep)
                torch._foreach_lerp_(averages, signal, rates[name])
                signal = averages
        flip(parameters, signal)


@settings
class GradientFilterMethod(BitsMethod):
    """`GradientFilter` as a config variant.

    Args:
        real: the variant (sgd or adamw) that trains the real parameters.
        alpha: α.
        gamma: γ; 1: first order.
        delta: δ; below 1: third order.
        decay: which rates follow the learning-rate schedule.
        initial_state: `zero`, or `preset`: I_0 = −`initial_inertia`·w_0 and m_0 likewise.
        initial_inertia: c, for `preset`.
        init_scale: factor of the initial latent weights, before they become bits.
    """

    real: RealVariant
    alpha: ShareAboveZero
    gamma: ShareAboveZero = 1.0
    delta: ShareAboveZero = 1.0
    decay: Rates = ("alpha",)
    initial_state: Literal["zero", "preset"] = "zero"
    initial_inertia: NotNegative | None = None
    init_scale: NotNegative = 1.0

    def __post_init__(self) -> None:
        if (self.initial_state == "preset") != (self.initial_inertia is not None):
            allowed = "none with initial_state zero, a number >= 0 with preset"
            raise ValueError(f"initial_inertia: got {self.initial_inertia}; allowed: {allowed}")
        super().__post_init__()

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> GradientFilter:
        """See BinaryMethod."""
        start = self.initial_inertia or 0.0
        return GradientFilter(
            parameters,
            self.alpha,
            self.gamma,
            self.delta,
            decay=self.decay,
            initial_inertia=start,
            initial_momentum=start,
        )

    def as_filter(self, factors: FloatArray) -> FilterMap:
        """See BinaryMethod."""
        ones, start = np.ones_like(factors), self.initial_inertia or 0.0
        rates = {name: getattr(self, name) * (factors if name in self.decay else ones) for name in RATES}
        return FilterMap(rates["alpha"], rates["gamma"], ones, start, start, rates["delta"])
