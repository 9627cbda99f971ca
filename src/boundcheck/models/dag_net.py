"""Networks whose layers form a directed acyclic graph (DAG), which can be trained as a stack of seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from boundcheck.models.construction import allocate
from boundcheck.models.dag_topology import Parents, checked, complete_dag, sequential
from boundcheck.settings import MaxLen, NotNegative, Width, settings

Activation = Literal["sigmoid", "tanh", "linear"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "linear": lambda z: z,
}
Topology = Literal["sequential", "complete"]
TOPOLOGIES = {"sequential": sequential, "complete": complete_dag}


class DAGLayer(nn.Module):
    """x ↦ g(Σ_{j ∈ parents} W_j x_j + b), with one weight `from_<j>` (n, n_j) for each parent.

    This is one dense layer on the concatenated parents. Each edge has its own matrix, so that adaptive momentum can
    treat it as a block.
    """

    bias: nn.Parameter | None

    def __init__(self, widths: Sequence[int], parents: Sequence[int], width: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.parents, self.activation = tuple(parents), activation
        for parent in self.parents:
            self.register_parameter(f"from_{parent}", nn.Parameter(torch.empty(width, widths[parent])))
        self.register_parameter("bias", nn.Parameter(torch.empty(width)) if bias else None)

    def weight(self, parent: int) -> Tensor:
        """W_j (..., n, n_j) of the edge from layer j."""
        return getattr(self, f"from_{parent}")

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Outputs x_0 … x_{l−1} of the layers below, each (..., b, n_j) -> (..., b, n_l)."""
        first, *rest = self.parents
        z = _affine(layers[first], self.weight(first), self.bias)
        for parent in rest:
            z = _add_product(z, layers[parent], self.weight(parent))
        return ACTIVATIONS[self.activation](z)


class DAGNetwork(nn.Module):
    """x_0 = input, x_l = g_l(Σ_{j ∈ P(l)} W_lj x_j + b_l), output x_L.

    Args:
        input_shape: shape of one example; examples are flattened.
        widths: n_0 … n_L.
        parents: P(1) … P(L), in topological order.
        activations: g_1 … g_L.
        bias: whether the layers have biases b_l.
        code_layer: for an autoencoder, the number of the layer with the code.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        widths: Sequence[int],
        parents: Parents,
        activations: Sequence[str],
        bias: bool,
        code_layer: int | None = None,
    ) -> None:
        super().__init__()
        self.num_input_dims, self.widths, self.parents = len(input_shape), tuple(widths), parents
        self.activations, self.code_layer = tuple(activations), code_layer
        described = zip(parents, widths[1:], activations, strict=True)
        self.layers = nn.ModuleList(DAGLayer(widths, of, width, name, bias) for of, width, name in described)

    @property
    def code_size(self) -> int | None:
        """Width of the code; None for a network without one."""
        return None if self.code_layer is None else self.widths[self.code_layer]

    def states(self, inputs: Tensor) -> list[Tensor]:
        """x_0 … x_L of inputs (..., *input_shape), each (b, n_l), or (k, b, n_l) for a stack."""
        states = [inputs.flatten(-self.num_input_dims)]
        for layer in self.layers:
            states.append(layer(states))
        return states

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (b, *input_shape) -> (b, n_L); of a stack, (b, ...) or (k, b, ...) -> (k, b, n_L)."""
        return self.states(inputs)[-1]


@settings
class DAGNet:
    """A network whose layers are connected by any set of forward edges.

    Args:
        widths: units of the hidden layers 1 … L − 1, in topological order; the output layer is added.
        parents: `sequential`, `complete` (all forward edges), or for each layer 1 … L the list of its input layers.
        activation: activation of the hidden layers: sigmoid, tanh or linear.
        output: activation of the output layer.
        bias: whether the layers have biases.
        init_scale: factor of the initial values, which are U(−1/√m, 1/√m), m the number of all inputs of a layer.
    """

    widths: Annotated[Sequence[Width], MaxLen(200)]
    parents: Topology | Sequence[Sequence[int]] = "complete"
    activation: Activation = "tanh"
    output: Activation = "linear"
    bias: bool = True
    init_scale: NotNegative = 1.0
    stackable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._parents()

    def architecture(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """The network on the meta device, which has shapes but no values."""
        widths = [math.prod(input_shape), *self.widths, num_outputs]
        return described(input_shape, widths, self._parents(), self.activation, self.output, self.bias)

    @torch.no_grad()
    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The network on the CPU, with values drawn from the generator layer by layer."""
        return initialize(allocate(self.architecture(input_shape, num_outputs)), generator, self.init_scale)

    def _parents(self) -> Parents:
        num_layers = len(self.widths) + 1
        if isinstance(self.parents, str):
            return TOPOLOGIES[self.parents](num_layers)
        return checked(self.parents, num_layers)


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator, scale: float) -> nn.Module:
    """Draw all values of a layer from U(−a, a), a = scale/√m, where m is the number of units of all its parents."""
    for layer in network.modules():
        if isinstance(layer, DAGLayer):
            fan_in = sum(layer.weight(parent).shape[-1] for parent in layer.parents)
            for parameter in layer.parameters():
                parameter.uniform_(-1, 1, generator=generator).mul_(scale / math.sqrt(fan_in))
    return network


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if weight.dim() == 2:
        return nn.functional.linear(inputs, weight, bias)
    if inputs.dim() == 2:
        inputs = inputs.expand(len(weight), -1, -1)
    if bias is None:
        return inputs @ weight.mT
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT)


def _add_product(z: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """z + x Wᵀ; a stack of k has weights (k, n, m)."""
    if weight.dim() == 2:
        return z + nn.functional.linear(inputs, weight)
    return torch.baddbmm(z, inputs.expand(len(weight), -1, -1) if inputs.dim() == 2 else inputs, weight.mT)


def described(
    input_shape: tuple[int, ...],
    widths: Sequence[int],
    parents: Parents,
    activation: str,
    output: str,
    bias: bool,
    code_layer: int | None = None,
) -> nn.Module:
    """A DAG network on the meta device; hidden layers share one activation."""
    activations = [activation] * (len(parents) - 1) + [output]
    with torch.device("meta"):
        return DAGNetwork(input_shape, widths, parents, activations, bias, code_layer)
