"""Weight normalisation on top of any network of linear and convolutional layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from boundcheck.models import MODELS
from boundcheck.registry import build, build_part
from boundcheck.settings import among, settings

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NOT_APPLICABLE = (
    "the bounds are for fully connected networks without biases, residual branches, convolutions or batch "
    "normalisation, as weight_norm_mlp builds them"
)


class RowScaling(nn.Module):
    """(g, v) ↦ g v/‖v‖, with one norm for each output unit.

    torch's own `weight_norm` is not used, because its second derivative is wrong (its first derivative is correct), and
    all curvatures here need second derivatives.
    """

    def forward(self, gain: Tensor, direction: Tensor) -> Tensor:
        """Gains (m, 1, ...) and directions (m, ...) -> weights (m, ...)."""
        return gain * direction / row_norms(direction)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (m, ...) -> gains (m, 1, ...), their norms; and directions, the weights themselves."""
        return row_norms(weight), weight


def row_norms(weight: Tensor) -> Tensor:
    """‖wᵢ‖ of each output unit: (m, ...) -> (m, 1, ...)."""
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)


def weight_normalise(network: nn.Module, keep_last: bool = True) -> nn.Module:
    """Reparametrise every linear and convolutional layer as W = g v/‖v‖, one norm for each output unit, in place.

    The network computes the same function. Its parameters become `...parametrizations.weight.original0` (g) and
    `original1` (v); any optimizer can train them.

    Args:
        network: any module.
        keep_last: do not normalise the last such layer, as in the paper's networks.

    Returns: the network.

    Raises:
        ValueError: the network has no layer to normalise.
    """
    layers = [module for module in network.modules() if isinstance(module, LAYERS)]
    chosen = layers[:-1] if keep_last else layers
    if not chosen:
        raise ValueError(f"network: got {len(layers)} linear or convolutional layers; allowed: one to normalise")
    for layer in chosen:
        register_parametrization(layer, "weight", RowScaling())
    return network


@settings
class WeightNormed:
    """Another model with weight normalisation and trainable gains. It can only be trained.

    The bounds of `boundcheck.theory.weight_norm.bounds` do not apply to it; `outside_theory` is the reason that the
    report gives.

    Args:
        base: the variant of the model, such as `{kind: resnet, depth: 8, width: 8}`.
        keep_last: do not normalise the output layer.
    """

    base: Annotated[Mapping[str, Any], among("models")]
    keep_last: bool = True
    stackable: ClassVar[bool] = False
    outside_theory: ClassVar[str] = NOT_APPLICABLE
    normalises_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        build_part("base", MODELS, self.base)

    def build(self, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator) -> nn.Module:
        """The base network with its initial weights, reparametrised."""
        network = build(MODELS, self.base).build(input_shape, num_outputs, generator)
        return weight_normalise(network, self.keep_last)
