"""The loss of one mini-batch as a function of a flat θ, seen through the closure that `Optimizer.step` is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from boundcheck.methods.flat import FlatLayout, along


class Landscape:
    """∇L and ∇‖∇L‖ of one mini-batch, at the parameters as they are and wherever else a method looks.

    Building it makes the first pass, at θ. Parameters that this pass does not reach are no part of θ and keep no
    gradient. For a stack, L is the sum over its k slices, so each row of a gradient is that of its own slice.

    Attributes:
        loss: what the closure returned in the first pass.
        theta: θ (k, p), where the step starts from; a method may replace it.
        gradient: ∇L(θ) (k, p).
        layout: where the parameters lie in θ.

    Args:
        closure: first order: computes the loss, calls backward and returns the loss;
            second order: computes the loss and returns it, without backward.
        groups: the parameter groups.
        num_stacked: k.
        second_order: which of the two closures this is.
        layout: that of the step before, used again if the pass reaches the same parameters.

    Raises:
        RuntimeError: the closure left no gradient, or a loss whose graph is gone.
    """

    def __init__(
        self,
        closure: Callable[[], Any],
        groups: Sequence[Mapping[str, Any]],
        num_stacked: int = 1,
        second_order: bool = False,
        layout: FlatLayout | None = None,
    ) -> None:
        self._groups = groups
        self._pass = partial(graph_pass if second_order else backward_pass, closure)
        self._trainable = [p for group in groups for p in group["params"] if p.requires_grad]
        self.loss: Any
        self.loss, found = self._pass(self._trainable, create_graph=second_order)
        reached = [(p, g) for p, g in zip(self._trainable, found, strict=True) if g is not None]
        if not reached:
            raise RuntimeError("the closure left no gradient: it must call backward() on a loss of the parameters")
        self._parameters = [p for p, _ in reached]
        self._reached = {id(p) for p in self._parameters}
        self.layout = layout if layout and layout.is_of(self._parameters) else FlatLayout(self._parameters, num_stacked)
        self._graph: list[Tensor | None] = [g for _, g in reached] if second_order else []
        self.theta = self.layout.gather(self._parameters)
        self.gradient = self.layout.gather([g for _, g in reached])

    def spread(self, numbers: Sequence[Any]) -> Any:
        """One number per group as one number if they agree, else as a number per coordinate of a row (p,)."""
        if all(number == numbers[0] for number in numbers[1:]):
            return numbers[0]
        coordinates = [
            sum(p.numel() for p in group["params"] if id(p) in self._reached) // len(self.theta)
            for group in self._groups
        ]
        repeats = torch.tensor(coordinates, device=self.theta.device)
        return self.theta.new_tensor(numbers).repeat_interleave(repeats)

    def gradient_at(self, theta: Tensor) -> Tensor:
        """∇L(θ′) (k, p), by one more pass."""
        self._move(theta)
        _, gradients = self._pass(self._parameters)
        return self.layout.gather(gradients)

    def norm_gradient(self) -> Tensor:
        """f(θ) = ∇‖∇L(θ)‖ = ∇²L ∇L/(‖∇L‖ + ξ) (k, p), from the graph of the first pass: once, before any other pass."""
        graph, self._graph = self._graph, []
        return self._hessian_along_gradient(graph, self.gradient)

    def norm_gradient_at(self, theta: Tensor) -> Tensor:
        """f(θ′) (k, p), by one more pass."""
        self._move(theta)
        _, graph = self._pass(self._parameters, create_graph=True)
        return self._hessian_along_gradient(graph, self.layout.gather(graph))

    def restore(self) -> None:
        """Put `theta` into the parameters: the very bits, where no method has replaced it."""
        self._move(self.theta)

    def set_gradient(self, direction: Tensor) -> None:
        """Leave `direction` (k, p) in `.grad`, for the base optimizer; parameters outside θ are left without one."""
        for parameter in self._trainable:
            if id(parameter) not in self._reached:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        self.layout.scatter(direction, [p.grad for p in self._parameters if p.grad is not None])

    def _move(self, theta: Tensor) -> None:
        self.layout.scatter(theta, self._parameters)
        torch.clear_autocast_cache()  # an autocast around the whole step would go on with casts of the old weights

    def _hessian_along_gradient(self, graph: Sequence[Tensor | None], gradient: Tensor) -> Tensor:
        """∇²L ĝ (k, p), by a backward pass through the graph of ∇L, with ĝ held constant."""
        outputs, weights = [], []
        for output, weight in zip(graph, self.layout.views(along(gradient, 1.0)), strict=True):
            if output is not None and output.requires_grad:
                outputs.append(output)
                weights.append(weight.to(output.dtype))
        if not outputs:
            return torch.zeros_like(gradient)
        products = torch.autograd.grad(outputs, self._parameters, weights, allow_unused=True)
        return self.layout.gather(products)


def backward_pass(
    closure: Callable[[], Any], parameters: Sequence[Tensor], create_graph: bool = False
) -> tuple[Any, list[Tensor | None]]:
    """What the closure returns, and the gradients that its backward leaves in the parameters."""
    for parameter in parameters:
        parameter.grad = None
    with torch.enable_grad():
        loss = closure()
    return loss, [parameter.grad for parameter in parameters]


def graph_pass(
    closure: Callable[[], Any], parameters: Sequence[Tensor], create_graph: bool = False
) -> tuple[Tensor, list[Tensor | None]]:
    """The closure's loss, and its gradients taken here, with their graph on demand.

    Raises:
        RuntimeError: what the closure returned has no graph, or its graph is gone.
    """
    with torch.enable_grad():
        loss = closure()
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            raise RuntimeError("the closure returned no loss with a graph: return the loss itself, not its value")
        try:
            gradients = torch.autograd.grad(loss, parameters, create_graph=create_graph, allow_unused=True)
        except RuntimeError as error:
            if "backward through the graph a second time" not in str(error):
                raise
            raise RuntimeError(
                "the graph of the closure's loss was freed: a second-order method needs a closure that returns the "
                "loss and does not call backward()"
            ) from error
    return loss.detach(), list(gradients)
