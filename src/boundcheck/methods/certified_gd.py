"""Gradient descent on a weight-normalised network with the step length that its theory certifies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from boundcheck.methods.checks import check_number
from boundcheck.models.weight_norm_mlp import WeightNormMLP
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.theory.weight_norm_training import certified_step

SKIPPED = "only weight_norm_mlp has a certified step"


class CertifiedGD(torch.optim.Optimizer):
    """θ ← θ − lr · η₁ ∇L(θ), where η₁ of `theory.weight_norm_training.certified_step` surely decreases the square loss.

    η₁ is found anew at every step from row norms, ‖V‖₂ and the gradient's norms; the residual is bounded by what the
    network can output. The certificate is for the full-batch loss, targets one-hot or ±1, and inputs of one length.

    Args:
        network: a WeightNormNetwork, or a stack of k.
        lr: ω in (0, 2), the step in units of η₁; 1 has the largest guarantee.
        input_norm: ‖x‖ of every input; none: √d.
        num_stacked: k; each network of a stack has a step of its own.

    Attributes: step_size: ωη₁ of the last step, (k,); empty before the first.

    Raises:
        ValueError: a network without a certificate, or a number that makes no sense.
    """

    step_size: Tensor

    def __init__(
        self, network: nn.Module, lr: float = 1.0, input_norm: float | None = None, num_stacked: int = 1
    ) -> None:
        if not isinstance(network, WeightNormNetwork):
            raise ValueError(f"network: got {type(network).__name__}; allowed: WeightNormNetwork ({SKIPPED})")
        check_number("lr", lr, "in (0, 2)", lambda x: 0 < x < 2)
        super().__init__(network.parameters(), {"lr": lr})
        self.network, self.num_stacked = network, num_stacked
        length = math.sqrt(network.layers[0].weight.shape[-1])
        self.input_norm = length if input_norm is None else input_norm
        self.step_size = torch.empty(0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure computes the gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        norms = gradient_norms_by_layer(self.network)
        network = self.network.theory()
        unknown = torch.full_like(norms[0], math.inf)
        certified, _ = certified_step(network, network.output, self.input_norm, norms, unknown)
        for group in self.param_groups:
            step_size = group["lr"] * certified  # () or (k,)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    factor = step_size.to(parameter).view(*step_size.shape, *[1] * (parameter.dim() - step_size.dim()))
                    parameter.sub_(factor * parameter.grad)
        self.step_size = step_size.reshape(-1)
        return loss


def gradient_norms_by_layer(network: WeightNormNetwork) -> list[Tensor]:
    """Frobenius norms of ∇L by W¹ … W^L (with their trained gains), and V: () or (k,) each, float64."""
    norms = []
    for layer in [*network.layers, network.last]:
        norm = torch.linalg.vector_norm(_gradient(layer.weight), dim=(-2, -1))
        if isinstance(layer.gain, nn.Parameter):
            norm = torch.hypot(norm, torch.linalg.vector_norm(_gradient(layer.gain), dim=-1))
        norms.append(norm)
    return norms


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter).double() if parameter.grad is None else parameter.grad.double()


@dataclass(frozen=True)
class CertifiedGDMethod:
    """Full-batch gradient descent with the certified step of a weight-normalised network; see `CertifiedGD`.

    Args:
        lr: ω in (0, 2), in units of the certified step η₁.
        input_norm: ‖x‖ of every input; none: √d, as `normalise: sphere` makes it.
    """

    lr: float = 1.0
    input_norm: float | None = None

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("lr", self.lr, "in (0, 2)", lambda x: 0 < x < 2)
        if self.input_norm is not None:
            check_number("input_norm", self.input_norm, "> 0, or none", lambda x: x > 0)

    def skips(self, model: Any) -> str | None:
        """Why a model cannot be trained so."""
        return None if isinstance(model, WeightNormMLP) else SKIPPED

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> CertifiedGD:
        """The optimizer of a network or of a stack of networks."""
        return CertifiedGD(model, self.lr, self.input_norm, num_stacked)
