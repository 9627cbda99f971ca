"""Common code of the optimizers that evaluate a mini-batch several times and pass one direction to a base optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.batch_norm import frozen_statistics
from boundcheck.methods.flat import FlatLayout
from boundcheck.methods.landscape import Landscape
from boundcheck.methods.schedule import check_schedule, scheduled
from boundcheck.settings import Count, check


class MultiPass(Optimizer, ABC):
    """A wrapper that computes one direction from several gradients of a mini-batch. `base` uses it as the gradient.

    The method's numbers are in the parameter groups, beside `lr`. They are read at every step, and each group may have
    its own. Norms are over all parameters of all groups (for a stack, of each slice), in float32 or wider. The loss
    must not be scaled: bfloat16 autocast is allowed, a GradScaler is not. The parameters change between the passes;
    afterwards they are restored exactly, also after an error. Weight decay is done by the base; the gradients here do
    not include it.

    Args:
        base: any torch optimizer that can step without a closure; its groups and its state are shared.
        numbers: the method's numbers by name, as defaults of the groups.
        schedules: for each number with a schedule: its least value, which it reaches when the learning rate is 0
            (None: it does not depend on the learning rate), and the steps of its warm-up; see `scheduled`.
        model: the network, if its batch normalisation shall count the first pass only.
        num_stacked: k; when it is more than 1, every parameter has a leading axis of k independent networks.

    Raises:
        ValueError: a number is not allowed, or the base maximises or has a number of the same name.
    """

    second_order = False

    def __init__(
        self,
        base: Optimizer,
        numbers: Mapping[str, float | None],
        schedules: Mapping[str, tuple[float | None, int]],
        *,
        model: nn.Module | None = None,
        num_stacked: int = 1,
    ) -> None:
        if not isinstance(base, Optimizer):
            raise TypeError(f"base: got a {type(base).__name__}; allowed: an optimizer, as torch.optim.SGD(parameters)")
        check("num_stacked", num_stacked, Count)
        self.base, self.model, self.num_stacked = base, model, num_stacked
        self._layout: FlatLayout | None = None
        self._names, self._moving = tuple(numbers), tuple(schedules)
        self._own = {**numbers, "num_steps": 0}
        for name, (least, warmup) in schedules.items():
            self._own |= {f"{name}_min": least, f"{name}_warmup": warmup}
        for name in self._own:
            if name in base.defaults:
                raise ValueError(
                    f"base: {type(base).__name__} has its own {name!r}; allowed: a base without, as SGD, AdamW"
                )
        super().__init__(base.param_groups, {**base.defaults, **self._own})
        self._share()

    @abstractmethod
    def direction(self, *args: Any, **kwargs: Any) -> Tensor:
        """`direction(landscape, **numbers)`: the vector (k, p) that replaces the gradient."""

    @abstractmethod
    def check(self, group: Mapping[str, Any]) -> None:
        """Raise a ValueError if a number of a group is not allowed."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the base optimizer along `direction`.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss. If `second_order` is
                true, it must not call backward.

        Returns:
            The closure's result in the first pass, at θ.

        Raises:
            ValueError: there is no closure.
            RuntimeError: the closure calls backward but must not, or the reverse.
        """
        if closure is None:
            name = type(self).__name__
            raise ValueError(f"closure: got None; {name} evaluates a mini-batch several times and needs a closure")
        groups = self.param_groups
        landscape = Landscape(closure, groups, self.num_stacked, self.second_order, self._layout)
        self._layout = landscape.layout
        numbers = {name: landscape.spread([self._now(group, name) for group in groups]) for name in self._names}
        try:
            with frozen_statistics(self.model):
                direction = self.direction(landscape, **numbers)
        finally:
            landscape.restore()
        landscape.set_gradient(direction)
        self.base.step()
        for group in groups:
            group["num_steps"] += 1
        return landscape.loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the base optimizer; numbers of this method that it does not have are the defaults."""
        self._complete(param_group)
        if not any(group is param_group for group in self.base.param_groups):
            self.base.add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the base optimizer and the groups with their numbers; a state of the base alone is also accepted."""
        self.base.load_state_dict(state_dict)
        self._share()
        for group in self.param_groups:
            self._complete(group)

    def __getstate__(self) -> dict[str, Any]:
        # A learning-rate scheduler leaves a `step` bound to this very object among the attributes.
        return {name: value for name, value in vars(self).items() if name != "step"} | {"_layout": None}

    def _share(self) -> None:
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def _complete(self, group: dict[str, Any]) -> None:
        for name, value in self._own.items():
            group.setdefault(name, value)
        if group.get("maximize"):
            raise ValueError("maximize: got True; allowed: False (change the sign of the loss instead)")
        self.check(group)
        for name in self._moving:
            check_schedule(group, name)

    def _now(self, group: Mapping[str, Any], name: str) -> Any:
        return scheduled(group, name) if name in self._moving else group[name]
