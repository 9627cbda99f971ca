"""What the theory of weight-normalised networks says of the square loss around one of them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from boundcheck.contracts import Split
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.theory.weight_norm.bounds import layer_bounds, matrix_norms, parameter_bounds
from boundcheck.theory.weight_norm.convexity import restricted_convexity
from boundcheck.theory.weight_norm.network import passes
from boundcheck.theory.weight_norm.training import certified_step, loss_smoothness, smoothness_along_step


class AveragePrediction:
    """Σ_k f_k/√K, averaged over the examples: its gradient is ḡ."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs (..., n, K) -> (...)."""
        return outputs.sum(-1).mean(-1) / math.sqrt(outputs.shape[-1])

    def targets(self, split: Split) -> Tensor:
        """The labels (n,), which it does not look at."""
        return split.labels


class Surroundings:
    """What the theory says of the loss around one network."""

    def __init__(
        self, model: WeightNormNetwork, train: Split, length: Tensor, loss: Tensor, gradient: Tensor, average: Tensor
    ) -> None:
        self.network, self.output, self.length = model.theory(), model.output.detach().double(), length
        self.loss, self.gradient, self.average_gradient = loss, gradient, average
        self.inputs = train.inputs.flatten(1)
        at = passes(model.theory(torch.zeros_like(self.output[0])), self.inputs)
        outputs = self.network.s[-1] * at.a[-1] @ self.output.mT  # (n, K)
        self.residuals = outputs - _targets(outputs, train.labels)
        self.residual = torch.linalg.vector_norm(self.residuals, dim=-1).mean()
        self._sizes = [p.numel() for p in model.parameters()]
        self._rows = [layer.weight.detach().double() for layer in model.layers]
        self._names = [name for name, _ in model.named_parameters()]

    def convexity(self, radius: float, kappa: float) -> Tensor:
        """α within the radius, from B0t."""
        bounds = parameter_bounds(self.network, self.length, radius, matrix_norms(self.output))
        return restricted_convexity(self.average_gradient.norm(), bounds, self.residual.reshape(1), radius, kappa)

    def convexity_limit(self, kappa: float) -> float:
        """α as ρ → 0: 2κ²‖ḡ‖² − (2/n) Σ_i ‖r_i‖ H_i, with B1 of the prediction along each residual."""
        norms = torch.linalg.vector_norm(self.residuals, dim=-1)
        along = self.residuals / norms.clamp_min(1e-300).unsqueeze(-1)
        bounds = layer_bounds(passes(replace(self.network, output=along @ self.output), self.inputs))
        return restricted_convexity(self.average_gradient.norm(), bounds, norms, 0.0, kappa).item()

    def smoothness(self) -> Tensor:
        """β at θ: ≥ λ_max(∇²L), from B0t."""
        bounds = parameter_bounds(self.network, self.length, 0.0, matrix_norms(self.output))
        zero, none = torch.zeros((), dtype=torch.float64), torch.tensor(math.inf, dtype=torch.float64)
        return loss_smoothness(bounds, self.residual, zero, none).squeeze()

    def certified_step(self) -> tuple[float, float]:
        """η₁ and β along it."""
        norms = self._gradient_norms()
        arguments = (self.network, self.output, float(self.length))
        step, _ = certified_step(*arguments, norms, self.residual)
        return step.item(), smoothness_along_step(*arguments, step, norms, self.residual).item()

    def row_gradient_cosine(self) -> float:
        """max over hidden rows of |w·∇_w L|/(‖w‖‖∇L‖); 0 at a stationary point."""
        parts = dict(zip(self._names, self.gradient.split(self._sizes), strict=True))
        largest = 0.0
        for layer, rows in enumerate(self._rows):
            along = (rows * parts[f"hidden.{layer}.weight"].view(rows.shape)).sum(-1).abs()
            norms = torch.linalg.vector_norm(rows, dim=-1) * self.gradient.norm().clamp_min(1e-300)
            largest = max(largest, (along / norms).max().item())
        return largest

    def _gradient_norms(self) -> list[Tensor]:
        squares: dict[str, Tensor] = {}
        for name, part in zip(self._names, self.gradient.split(self._sizes), strict=True):
            layer = name.rpartition(".")[0]
            squares[layer] = squares.get(layer, part.new_zeros(())) + part.square().sum()
        return [square.sqrt() for square in squares.values()]


def _targets(outputs: Tensor, labels: Tensor) -> Tensor:
    """One-hot (n, K), or ±1 (n, 1)."""
    if outputs.shape[-1] == 1:
        return (2 * labels - 1).to(outputs).unsqueeze(-1)
    return torch.nn.functional.one_hot(labels, outputs.shape[-1]).to(outputs)
