"""Gradient descent on a weight-normalised network, with a step size that the theory certifies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from boundcheck.models.weight_norm_mlp import WeightNormMLP
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.settings import Gt, Lt, Positive, TrainingSettings, check, settings
from boundcheck.theory.weight_norm.training import certified_step, loss_without_targets

SKIPPED = "only weight_norm_mlp has a certified step"
StepFactor = Annotated[float, Gt(0), Lt(2)]
ROUNDING = 16  # largest rounding error of the loss, in units of the machine epsilon


class CertifiedGD(torch.optim.Optimizer):
    """θ ← θ − η_ω ∇L(θ), with η_ω from `theory.weight_norm.training.certified_step`: the square loss always decreases.

    η_ω is computed at every step from the row norms, ‖V‖₂, the norms of the gradient and the root of the loss. The loss
    follows from the gradient and the last predictions in the closure. Without a closure, the residual is bounded by the
    largest possible output of the network. The certificate is for the full-batch loss, targets one-hot or ±1, and
    inputs of equal norm.

    Args:
        network: a WeightNormNetwork, or a stack of k.
        lr: ω in (0, 2): the loss falls by at least η_ω (1 − ω/2) ‖∇L‖².
        input_norm: ‖x‖ of every input; none: √d.
        num_stacked: k; each network of a stack has its own step size.

    Attributes: step_size: η_ω of the newest step, (k,); empty before the first step.

    Raises:
        ValueError: the network has no certificate, or a number is not allowed.
    """

    step_size: Tensor

    def __init__(
        self, network: nn.Module, lr: float = 1.0, input_norm: float | None = None, num_stacked: int = 1
    ) -> None:
        if not isinstance(network, WeightNormNetwork):
            raise ValueError(f"network: got {type(network).__name__}; allowed: WeightNormNetwork ({SKIPPED})")
        check("lr", lr, StepFactor)
        super().__init__(network.parameters(), {"lr": lr})
        self.network, self.num_stacked = network, num_stacked
        length = math.sqrt(network.layers[0].weight.shape[-1])
        self.input_norm = length if input_norm is None else input_norm
        self.step_size = torch.empty(0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure computes the gradient."""
        loss, seen = None, list[Tensor]()
        if closure is not None:
            with torch.enable_grad(), _predictions(self.network) as seen:
                loss = closure()
        norms, network = gradient_norms_by_layer(self.network), self.network.theory()
        residual = self._residual(network.output, seen).expand_as(norms[0])
        for group in self.param_groups:
            omega = group["lr"]
            step_size, _ = certified_step(network, network.output, self.input_norm, norms, residual, omega=omega)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    factor = step_size.to(parameter).view(*step_size.shape, *[1] * (parameter.dim() - step_size.dim()))
                    parameter.sub_(factor * parameter.grad)
        self.step_size = step_size.reshape(-1)
        return loss

    def _residual(self, output: Tensor, seen: list[Tensor]) -> Tensor:
        """√L () or (k,), plus its rounding error; infinity if there was no prediction."""
        if not seen:
            return torch.tensor(math.inf, dtype=torch.float64, device=output.device)
        square = seen[-1].double().square().sum(-1).mean(-1)
        loss = loss_without_targets(output, _gradient(self.network.output), square).clamp_min(0)
        return (loss + ROUNDING * torch.finfo(seen[-1].dtype).eps * (1 + square)).sqrt()


@contextmanager
def _predictions(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list of all outputs of the network until the block ends, (b, K) or (k, b, K) each, in order."""
    seen: list[Tensor] = []
    handle = network.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs.detach()))
    try:
        yield seen
    finally:
        handle.remove()


def gradient_norms_by_layer(network: WeightNormNetwork) -> list[Tensor]:
    """Frobenius norms of ∇L with respect to W¹ … W^L (with trained gains) and V: () or (k,) each, float64."""
    norms = []
    for layer in [*network.layers, network.last]:
        norm = torch.linalg.vector_norm(_gradient(layer.weight), dim=(-2, -1))
        if isinstance(layer.gain, nn.Parameter):
            norm = torch.hypot(norm, torch.linalg.vector_norm(_gradient(layer.gain), dim=-1))
        norms.append(norm)
    return norms


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter).double() if parameter.grad is None else parameter.grad.double()


@settings
class CertifiedGDMethod:
    """Full-batch gradient descent with the certified step of a weight-normalised network; see `CertifiedGD`.

    Args:
        lr: ω in (0, 2): the step size is η_ω, about ω times η₁.
        input_norm: ‖x‖ of every input; none: √d, which `normalise: sphere` gives.
    """

    lr: StepFactor = 1.0
    input_norm: Positive | None = None

    num_gradients: ClassVar[int] = 1
    second_order: ClassVar[bool] = False
    follows: ClassVar[Literal["gradient"]] = "gradient"

    def skips(self, model: Any) -> str | None:
        """Why a model cannot be trained so."""
        return None if isinstance(model, WeightNormMLP) else SKIPPED

    def refuses(self, training: TrainingSettings, normalise: str, input_shape: Sequence[int] | None) -> str | None:
        """What of a cell's settings the certificate does not cover, with what is allowed.

        Args:
            training: its training settings.
            normalise: how its dataset's inputs are normalised.
            input_shape: shape of one input; none where it is not known yet.
        """
        if training.loss != "square":
            return f"loss: got {training.loss}; allowed: square, which the step is certified for"
        if normalise != "sphere":
            return f"normalise: got {normalise}; allowed: sphere, inputs of one length"
        length = None if input_shape is None else math.sqrt(math.prod(input_shape))
        if self.input_norm is None or length is None or math.isclose(self.input_norm, length, rel_tol=1e-12):
            return None
        return f"input_norm: got {self.input_norm}; allowed: none, or {length}, the length of every input"

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> CertifiedGD:
        """The optimizer of a network or of a stack of networks."""
        return CertifiedGD(model, self.lr, self.input_norm, num_stacked)
