"""The loss of one mini-batch as a function of a flat θ, computed by the closure of `Optimizer.step`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from boundcheck.methods.flat import XI, Buffer, FlatLayout, norm


class Landscape:
    """∇L and ∇‖∇L‖ of one mini-batch, at θ and at a point θ′ that a method can move.

    The constructor makes the first pass, at θ = θ′. Parameters without a gradient in this pass are not part of θ. For a
    stack, L is the sum over its k slices, so each row of a gradient is the gradient of its own slice.

    Attributes:
        loss: the closure's result in the first pass.
        gradient: ∇L(θ) (k, p).
        layout: the positions of the parameters in θ.

    Args:
        closure: first order: computes the loss, calls backward and returns the loss;
            second order: computes the loss and returns it, without backward.
        groups: the parameter groups.
        num_stacked: k.
        second_order: whether the closure is of second order.
        layout: the layout of the previous step; it is used again if the same parameters have gradients.

    Raises:
        RuntimeError: the closure left no gradient, or the graph of its loss was freed.
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
        self.loss, gradients = self._pass(self._trainable, create_graph=second_order)
        reached = [(p, g) for p, g in zip(self._trainable, gradients, strict=True) if g is not None]
        if not reached:
            raise RuntimeError("the closure left no gradient: it must call backward() on a loss of the parameters")
        self._parameters = [p for p, _ in reached]
        self._reached = {id(p) for p in self._parameters}
        self.layout = layout if layout and layout.is_of(self._parameters) else FlatLayout(self._parameters, num_stacked)
        self._graph: list[Tensor | None] = [g for _, g in reached] if second_order else []
        self._home = self._here = self.layout.gather(self._parameters, "theta")
        self._num_gradients = 0
        self.gradient = self._keep([g for _, g in reached])

    @property
    def theta(self) -> Tensor:
        """θ (k, p), the start of the step."""
        return self._home.flat

    def room(self, name: str) -> Tensor:
        """A vector (k, p) to write to, with arbitrary content; the same memory at every step."""
        return self.layout.buffer(f"room {name}").flat

    def spread(self, numbers: Sequence[Any]) -> Any:
        """One number per group as a single number if all are equal, else as one number per coordinate (p,)."""
        if all(number == numbers[0] for number in numbers[1:]):
            return numbers[0]
        coordinates = [
            sum(p.numel() for p in group["params"] if id(p) in self._reached) // len(self.theta)
            for group in self._groups
        ]
        repeats = torch.tensor(coordinates, device=self.theta.device)
        return self.theta.new_tensor(numbers).repeat_interleave(repeats)

    def move_along(self, v: Tensor, length: Any) -> None:
        """θ′ ← θ′ + ρ v/(‖v‖ + ξ), with ρ the length."""
        point = self.layout.buffer("point")
        torch.addcmul(self._here.flat, v, length / (norm(v) + XI), out=point.flat)
        self._here = point

    def move_by(self, step: Tensor, times: float = 1.0) -> None:
        """θ′ ← θ′ + times · step."""
        point = self.layout.buffer("point")
        torch.add(self._here.flat, step, alpha=times, out=point.flat)
        self._here = point

    def move_back(self) -> None:
        """θ′ ← θ, exactly."""
        self._here = self._home

    def settle(self) -> None:
        """θ ← θ′: the step will start from θ′."""
        self._home = self._here

    def gradient_here(self) -> Tensor:
        """∇L(θ′) (k, p), by one more pass. The caller may overwrite the result; it is valid until the next step."""
        self._visit(self._here)
        _, gradients = self._pass(self._parameters)
        return self._keep(gradients)

    def norm_gradient(self) -> Tensor:
        """f(θ) = ∇‖∇L(θ)‖ = ∇²L ∇L/(‖∇L‖ + ξ) (k, p), from the graph of the first pass.

        Call it at most once, before any other pass. The caller may overwrite the result; it is valid until the next
        `norm_gradient_here`.
        """
        graph, self._graph = self._graph, []
        return self._hessian_along_gradient(graph)

    def norm_gradient_here(self) -> Tensor:
        """f(θ′) (k, p), by one more pass. The caller may overwrite the result; it is valid until the next call."""
        self._visit(self._here)
        _, graph = self._pass(self._parameters, create_graph=True)
        return self._hessian_along_gradient(graph)

    def restore(self) -> None:
        """Copy θ back into the parameters, exactly."""
        self._visit(self._home)

    def set_gradient(self, direction: Tensor) -> None:
        """Write `direction` (k, p) to `.grad` for the base optimizer. Parameters outside θ get no gradient."""
        for parameter in self._trainable:
            if id(parameter) not in self._reached:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        pieces = self.layout.pieces(direction)
        torch._foreach_copy_([p.grad for p in self._parameters if p.grad is not None], pieces)

    def _keep(self, gradients: Sequence[Tensor | None]) -> Tensor:
        self._num_gradients += 1
        return self.layout.gather(gradients, f"gradient {self._num_gradients}").flat

    def _visit(self, point: Buffer) -> None:
        torch._foreach_copy_(self._parameters, point.pieces)
        torch.clear_autocast_cache()  # otherwise an autocast around the step would use casts of the old weights

    def _hessian_along_gradient(self, graph: Sequence[Tensor | None]) -> Tensor:
        """∇²L ĝ (k, p), by a backward pass through the graph of ∇L, with ĝ held constant."""
        unit = self.layout.gather(graph, "unit gradient")
        unit.flat.div_(norm(unit.flat) + XI)
        outputs, weights = [], []
        for output, weight in zip(graph, unit.pieces, strict=True):
            if output is not None and output.requires_grad:
                outputs.append(output)
                weights.append(weight.to(output.dtype))
        products: Sequence[Tensor | None] = [None] * len(unit.pieces)
        if outputs:
            products = torch.autograd.grad(outputs, self._parameters, weights, allow_unused=True)
        return self.layout.gather(products, "norm gradient").flat


def backward_pass(
    closure: Callable[[], Any], parameters: Sequence[Tensor], create_graph: bool = False
) -> tuple[Any, list[Tensor | None]]:
    """The closure's result, and the gradients that its backward leaves in the parameters."""
    for parameter in parameters:
        parameter.grad = None
    with torch.enable_grad():
        loss = closure()
    return loss, [parameter.grad for parameter in parameters]


def graph_pass(
    closure: Callable[[], Any], parameters: Sequence[Tensor], create_graph: bool = False
) -> tuple[Tensor, list[Tensor | None]]:
    """The closure's loss and its gradients; with `create_graph`, the gradients have a graph.

    Raises:
        RuntimeError: the closure's result has no graph, or its graph was freed.
    """
    with torch.enable_grad():
        with sdpa_kernel(SDPBackend.MATH):  # the attention that has a second derivative
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
