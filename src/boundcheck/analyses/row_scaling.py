"""What multiplying all rows of a weight-normalised network by one factor changes: nothing but its derivatives."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch

from boundcheck.analyses.predictor_hessian import function_norm
from boundcheck.analyses.predictor_operators import output_directions
from boundcheck.contracts import Row, Snapshot
from boundcheck.curvature.predictor import PredictorHessians, spectral_norms
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.settings import Count, Positive, settings


@settings
class RowScaling:
    """Derivatives by the hidden weights with every hidden row multiplied by c; rows have coordinate c.

    Rows, means over examples: `hidden_hessian_norm` ‖∇²_WW f_y‖₂ and `hidden_gradient_norm` ‖∇_W f_y‖ (falling exactly
    like 1/c² and 1/c where rows are normalised), and `function_norm` (constant). Factors that are powers of 2 are exact
    in arithmetic too. Only for weight_norm_mlp; another network has no rows.

    Args:
        factors: c.
        samples: how many examples, from the start of the training split.
        tolerance: relative accuracy of the norms.
    """

    quantities: ClassVar[str] = "hidden_hessian_norm hidden_gradient_norm function_norm"

    factors: Sequence[Positive] = (0.25, 0.5, 1.0, 2.0, 4.0)
    samples: Count = 4
    tolerance: Positive = 1e-3

    def __post_init__(self) -> None:
        if 1 not in self.factors or len(set(self.factors)) != len(self.factors):
            raise ValueError(f"factors: got {[*self.factors]}; allowed: different numbers > 0, 1 among them")

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        model, generator = snapshot.model, snapshot.generator
        if not isinstance(model, WeightNormNetwork):
            return []
        examples = snapshot.train.first(self.samples)
        inputs, labels = examples.inputs.double(), examples.labels
        directions = output_directions(labels, model.output.shape[-2])
        is_hidden = [name.startswith("hidden") and name.endswith("weight") for name, _ in model.named_parameters()]
        sizes = [p.numel() for p in model.parameters()]
        keep = torch.cat(
            [torch.full((n,), float(h), dtype=torch.float64) for n, h in zip(sizes, is_hidden, strict=True)]
        )
        rows, state = [], generator.get_state()
        for factor in self.factors:
            scaled = copy.deepcopy(model).double()
            with torch.no_grad():
                for layer in scaled.layers:
                    layer.weight.mul_(factor)
            operator = PredictorHessians(scaled, inputs, directions)
            generator.set_state(state)
            result = spectral_norms(operator, generator, keep.to(inputs.device), self.tolerance)
            gradients = torch.linalg.vector_norm(operator.gradients * keep.to(inputs.device), dim=-1)
            values = {
                "hidden_hessian_norm": result.norms.mean().item(),
                "hidden_gradient_norm": gradients.mean().item(),
                "function_norm": function_norm(scaled, inputs),
            }
            rows += [Row(name, value, coordinate=factor) for name, value in values.items()]
        return rows
