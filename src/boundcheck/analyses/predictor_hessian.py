"""The Hessian of single predictions, and the bounds that weight normalisation gives for it."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from boundcheck.analyses.predictor_operators import output_directions, predictor_hessians
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.predictor import spectral_norms
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.settings import Count, Positive, settings
from boundcheck.theory.weight_norm.blocks import block_bounds
from boundcheck.theory.weight_norm.bounds import a_priori_bounds, layer_bounds, parameter_bounds, vector_norms
from boundcheck.theory.weight_norm.closed_form import closed_form_bounds
from boundcheck.theory.weight_norm.network import Network, paper_scales, passes
from boundcheck.theory.weight_norm.recursion import Bounds
from boundcheck.theory.weight_norm.rounding import rounding_errors


@settings
class PredictorHessian:
    """‖∇²_θ f_y(θ; x)‖₂ and ‖∇_θ f_y(θ; x)‖ for the output f_y of the class y of each of the first examples.

    Rows, with index = the example: `predictor_hessian_norm` (from below, by Lanczos; error: its residual),
    `predictor_gradient_norm`; of a weight_norm_mlp also the upper bounds `hessian_bound_<name>` and
    `gradient_bound_<name>` with name = blocks (B2), layers (B1), parameters (B0t) and, with normalised rows,
    a_priori (B0) and a_priori_global, and in the paper's scaling at equal widths the closed forms `squared` (L²) and
    `cubic` (L³); their error is what rounding may add to the norm and to the bound together. Without index:
    `mean_predictor_hessian_norm`, `mean_predictor_gradient_norm`, `function_norm` (root mean square of ‖f(x)‖),
    `num_hvps`. With one output f itself is meant.

    Args:
        samples: how many examples, from the start of the training split.
        tolerance: relative accuracy of the norms.
        max_hvps: products allowed for each example.
        bounds: whether bounds are computed.
    """

    quantities: ClassVar[str] = (
        "mean_predictor_hessian_norm mean_predictor_gradient_norm function_norm num_hvps predictor_gradient_norm "
        "predictor_hessian_norm hessian_bound_* gradient_bound_*"
    )

    samples: Count = 16
    tolerance: Positive = 5e-3
    max_hvps: Count = 60
    bounds: bool = True

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        model, train, generator = snapshot.model, snapshot.train, snapshot.generator
        examples = train.first(self.samples)
        inputs, labels = examples.inputs.double(), examples.labels
        with torch.no_grad():
            num_outputs = model(train.inputs[:1]).shape[-1]
        directions = output_directions(labels, num_outputs)
        operator, floor = predictor_hessians(model, inputs, directions)
        result = spectral_norms(operator, generator, tolerance=self.tolerance, max_matvecs=self.max_hvps)
        norms = torch.maximum(result.norms, floor)
        gradients = torch.linalg.vector_norm(operator.gradients, dim=-1)
        rows = [
            Row("mean_predictor_hessian_norm", norms.mean().item(), error=result.residuals.mean().item()),
            Row("mean_predictor_gradient_norm", gradients.mean().item()),
            Row("function_norm", function_norm(model, train.inputs)),
            Row("num_hvps", result.num_matvecs),
            *indexed("predictor_gradient_norm", gradients),
        ]
        pairs = zip(norms.tolist(), result.residuals.tolist(), strict=True)
        rows += [Row("predictor_hessian_norm", norm, index, error=error) for index, (norm, error) in enumerate(pairs)]
        if self.bounds and isinstance(model, WeightNormNetwork):
            network = model.theory(directions @ model.output.detach().double())
            errors = rounding_errors(passes(network, inputs.flatten(1)))
            for name, bound in predictor_bounds(network, inputs.flatten(1)).items():
                rows += indexed(f"hessian_bound_{name}", bound.hessian, errors.hessian)
                rows += indexed(f"gradient_bound_{name}", bound.gradient, errors.gradient)
        return rows


def predictor_bounds(network: Network, inputs: Tensor) -> dict[str, Bounds]:
    """All bounds that apply to a network, by name, from the tightest; (n,) each.

    Args:
        network: with an output v for each input (n, m_L).
        inputs: x (n, d).
    """
    lengths = torch.linalg.vector_norm(inputs, dim=-1)
    at, v = passes(network, inputs), vector_norms(network)
    bounds = {
        "blocks": block_bounds(at),
        "layers": layer_bounds(at),
        "parameters": parameter_bounds(network, lengths),
    }
    if network.normalised:
        layers = range(1, network.depth + 1)
        rows = [network.row_norms(layer).amin(-1, keepdim=True) for layer in layers]
        gains = [network.gain(layer).abs().amax(-1, keepdim=True) for layer in layers]
        for name, local in (("a_priori", True), ("a_priori_global", False)):
            bounds[name] = a_priori_bounds(
                network.widths, rows, v.euclidean, lengths, network.activation, network.scales, None, gains,
                network.trainable_gains, local,
            )  # fmt: skip
    if closed_form_applies(network):
        least = min(network.row_norms(layer).min().item() for layer in range(1, network.depth + 1))
        pairs = zip(v.euclidean.tolist(), (lengths / math.sqrt(network.widths[0])).tolist(), strict=True)
        width = network.widths[1]
        closed = [closed_form_bounds(network.depth, width, least, n, x, network.activation) for n, x in pairs]
        gradient, squared, _, cubic = torch.tensor(closed, dtype=torch.float64).T
        last = bounds["blocks"].last
        bounds |= {"squared": Bounds(gradient, squared, last), "cubic": Bounds(gradient, cubic, last)}
    return bounds


def closed_form_applies(network: Network) -> bool:
    """Whether hidden widths are equal, in the paper's scaling, with normalised rows and no gains."""
    equal = len(set(network.widths[1:])) == 1
    paper = network.scales is None or [*network.scales] == paper_scales(network.widths)
    return network.normalised and network.gains is None and equal and paper


@torch.no_grad()
def function_norm(model: nn.Module, inputs: Tensor) -> float:
    """√ of the mean over the examples of ‖f(x)‖²."""
    training = model.training
    model.eval()
    squares = model(inputs).double().square().sum(-1).mean()
    model.train(training)
    return math.sqrt(squares.item())


def indexed(quantity: str, values: Tensor, errors: Tensor | None = None) -> list[Row]:
    """A row for each of the values (n,), with its place as index."""
    of_each = [math.nan] * len(values) if errors is None else errors.tolist()
    pairs = zip(values.tolist(), of_each, strict=True)
    return [Row(quantity, value, index, error=error) for index, (value, error) in enumerate(pairs)]
