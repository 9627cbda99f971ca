"""The gradient filter of SGD with momentum in a form that is exact for every schedule and for complex poles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.binary_training import BitsMethod, RealVariant, flip, set_to_signs
from boundcheck.settings import Gt, Lt, NotNegative, Positive, ShareBelowOne, check, settings
from boundcheck.theory.arguments import FloatArray
from boundcheck.theory.binary_filter.mappings import StateSpaceMap


class StateSpaceFilter(Optimizer):
    """v ← μ v + (1−d)(g − I), I ← I + β v, b ← −b where I b > 0; the first v is g − I.

    With Nesterov's form I ← I + β((g − I) + μ v).
    With β = αγ and μ = (1−α)(1−γ) it is a second-order `GradientFilter`. With β above (1−√μ)², it has complex poles (a
    resonance). β is multiplied by lr/initial_lr, so a learning-rate scheduler schedules it.

    Args:
        params: binary parameters, or groups of them.
        rate: β in (0, 2(1+μ)); at the upper limit the filter becomes unstable.
        momentum: μ in [0, 1).
        dampening: d in [0, 1).
        nesterov: Nesterov's form.
        initial_inertia: c in I_0 = −c w_0, where w_0 are the initial values of the parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        rate: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        initial_inertia: float = 0.0,
    ) -> None:
        numbers = {"rate": rate, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, {"lr": 1.0, **numbers, "initial_inertia": initial_inertia})

    @torch.no_grad()
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, binarise its parameters and set their initial inertia."""
        for name, value in self.defaults.items():
            param_group.setdefault(name, value)
        group = param_group
        check("momentum", group["momentum"], ShareBelowOne)
        check("rate", group["rate"], Annotated[float, Gt(0), Lt(2 * (1 + group["momentum"]))])
        check("dampening", group["dampening"], ShareBelowOne)
        check("initial_inertia", group["initial_inertia"], NotNegative)
        check("nesterov", group["nesterov"], bool)
        super().add_param_group(param_group)
        group.setdefault("initial_lr", group["lr"])
        for p in group["params"]:
            self.state[p] = {"inertia": p.detach() * -group["initial_inertia"] + 0.0}
            set_to_signs(p)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns the closure's result."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for is_first in (True, False):
                chosen = [p for p in parameters if ("momentum" not in self.state[p]) == is_first]
                if chosen:
                    self._update(group, chosen, is_first)
                    parameters = [p for p in parameters if all(p is not q for q in chosen)]
        return loss

    def _update(self, group: Mapping[str, Any], parameters: Sequence[Tensor], is_first: bool) -> None:
        rate, momentum = group["rate"] * group["lr"] / group["initial_lr"], group["momentum"]
        inertias = [self.state[p]["inertia"] for p in parameters]
        errors = list(torch._foreach_sub([p.grad for p in parameters if p.grad is not None], inertias))
        if is_first:
            for p, error in zip(parameters, errors, strict=True):
                self.state[p]["momentum"] = error.clone()
        momenta = [self.state[p]["momentum"] for p in parameters]
        if not is_first:
            torch._foreach_mul_(momenta, momentum)
            torch._foreach_add_(momenta, errors, alpha=1 - group["dampening"])
        steps = momenta
        if group["nesterov"]:
            torch._foreach_add_(errors, momenta, alpha=momentum)
            steps = errors
        torch._foreach_add_(inertias, steps, alpha=rate)
        flip(parameters, inertias)


@settings
class StateSpaceFilterMethod(BitsMethod):
    """`StateSpaceFilter` as a config variant.

    Args:
        real: the variant (sgd or adamw) that trains the real parameters.
        rate: β.
        momentum: μ.
        dampening: d.
        nesterov: Nesterov's form.
        initial_inertia: c in I_0 = −c w_0; 0 forgets the initial signs.
        init_scale: factor of the initial latent weights, before they become bits.
    """

    real: RealVariant
    rate: Positive
    momentum: ShareBelowOne = 0.0
    dampening: ShareBelowOne = 0.0
    nesterov: bool = False
    initial_inertia: NotNegative = 0.0
    init_scale: NotNegative = 1.0

    def binary_optimizer(self, parameters: Sequence[nn.Parameter]) -> StateSpaceFilter:
        """See BinaryMethod."""
        return StateSpaceFilter(
            parameters, self.rate, self.momentum, self.dampening, self.nesterov, self.initial_inertia
        )

    def as_filter(self, factors: FloatArray) -> StateSpaceMap:
        """See BinaryMethod."""
        rate = self.rate * factors
        return StateSpaceMap(rate, self.momentum, self.dampening, self.nesterov, self.initial_inertia)
