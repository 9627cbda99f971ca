"""Common code of the momentum optimizers: one gradient per step, on one flat vector of parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from boundcheck.methods.flat import FlatLayout
from boundcheck.settings import Count, NotNegative, Positive, check


class MomentumOptimizer(Optimizer, ABC):
    """θ ← θ + Δθ. Subclasses compute Δθ from the gradient and a velocity, which is kept in the state.

    The method's numbers are in the parameter groups, beside `lr`. They are read at every step, and each group may have
    its own. `lr` may be a tensor (k,): one learning rate for each slice of a stack. All arithmetic is on one flat
    vector in float32 or wider. Parameters without a gradient do not change.

    Args:
        params: parameters or groups, as of any torch optimizer.
        lr: η > 0.
        weight_decay: λ of the penalty (λ/2) ‖θ‖², whose gradient is added.
        numbers: the method's own numbers by name, as defaults of the groups.
        num_stacked: k; when it is more than 1, every parameter has a leading axis of k independent networks.

    Attributes:
        gradient: ∇E(θ) + λθ of the newest step (k, p); None before the first.
        update: Δθ of the newest step (k, p); None before the first.

    Raises:
        ValueError: a number is not allowed.
    """

    per_slice_lr: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Any]] = {}  # the types of the method's own numbers

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        weight_decay: float,
        numbers: Mapping[str, Any],
        num_stacked: int = 1,
    ) -> None:
        check("num_stacked", num_stacked, Count)
        self.num_stacked = num_stacked
        self.gradient: Tensor | None = None
        self.update: Tensor | None = None
        self._layout: FlatLayout | None = None
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, **numbers})

    @abstractmethod
    def move(self, gradient: Tensor, velocity: Tensor, lr: Any, update: Tensor) -> None:
        """Write Δθ to `update`, and overwrite `velocity` with the next velocity; all are (k, p)."""

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
        layout = self._current_layout()
        if layout is None:
            return loss
        gradient = layout.gather([p.grad for p in layout.parameters], "gradient").flat
        decay = self.number("weight_decay")
        if isinstance(decay, Tensor) or decay:
            gradient += decay * layout.gather([p.detach() for p in layout.parameters], "theta").flat
        velocity, update = layout.buffer("velocity"), layout.buffer("update")
        self.move(gradient, velocity.flat, self.number("lr"), update.flat)
        torch._foreach_add_(layout.parameters, update.pieces)
        self.gradient, self.update = gradient, update.flat
        return loss

    def number(self, name: str) -> Any:
        """A number of the groups, in a form that broadcasts with (k, p).

        A plain number if all groups have the same one, else (1, p); with one value for each slice (k, 1) or (k, p).
        """
        values = [group[name] for group in self.param_groups]
        if len(values) == 1 or all(not isinstance(v, Tensor) and v == values[0] for v in values):
            return values[0].reshape(-1, 1) if isinstance(values[0], Tensor) else values[0]
        parts = []
        for value, group in zip(values, self.param_groups, strict=True):
            size = sum(p.numel() for p in group["params"] if p.grad is not None) // self.num_stacked
            first = group["params"][0]
            dtype = torch.promote_types(first.dtype, torch.float32)
            column = torch.as_tensor(value, dtype=dtype, device=first.device).reshape(-1, 1)
            parts.append(column.expand(self.num_stacked, size))
        return torch.cat(parts, dim=1)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; numbers that it does not have are the defaults."""
        numbers = {**self.defaults, **param_group}
        if not isinstance(numbers["lr"], Tensor):
            check("lr", numbers["lr"], Positive)
        for name, form in {"weight_decay": NotNegative, **self.rules}.items():
            check(name, numbers[name], form)
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the velocity is read from it at the next step."""
        super().load_state_dict(state_dict)
        self._layout = None

    def __getstate__(self) -> dict[str, Any]:
        # A learning-rate scheduler leaves a `step` bound to this very object among the attributes.
        kept = {name: value for name, value in vars(self).items() if name != "step"}
        return kept | {"_layout": None, "gradient": None, "update": None}

    def _current_layout(self) -> FlatLayout | None:
        """The layout of the parameters with a gradient. A new layout copies the velocities from the state."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return None
        if self._layout is None or not self._layout.is_of(parameters):
            self._layout = FlatLayout(parameters, self.num_stacked)
            known = [self.state[p].get("velocity") for p in parameters]
            velocity = self._layout.gather(known, "velocity")
            for parameter, piece in zip(parameters, velocity.pieces, strict=True):
                self.state[parameter]["velocity"] = piece
        return self._layout
