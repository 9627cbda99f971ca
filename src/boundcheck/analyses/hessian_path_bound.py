"""The explicit Hessian bound of a DAG network, evaluated on the training split."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch

from boundcheck.contracts import Row, Snapshot
from boundcheck.models.dag_net import DAGNetwork
from boundcheck.objectives import Reconstruction
from boundcheck.settings import Count, settings
from boundcheck.theory.dag_momentum.hessian import hessian_bound, path_sums, sublevel_hessian_bound, uniform_layer_norms


@settings
class HessianPathBound:
    """Rows `hessian_path_bound`, which bounds ‖∇²L(θ)‖ from the norms at θ, and `sublevel_hessian_bound`, which bounds
    it wherever the weights have these spectral norms and L is not above L(θ).

    Args:
        samples: examples from the start of the training split; None: all of it. L is their mean.
    """

    quantities: ClassVar[str] = "hessian_path_bound sublevel_hessian_bound"

    samples: Count | None = None

    @torch.no_grad()
    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis.

        Raises:
            ValueError: another kind of network or of loss.
        """
        model, objective = snapshot.model, snapshot.objective
        if not isinstance(model, DAGNetwork):
            raise ValueError(f"model: got {type(model).__name__}; allowed: dag_net, autoencoder")
        if not isinstance(objective, Reconstruction):
            raise ValueError(f"loss: got {type(objective).__name__}; allowed: reconstruction")
        subset = snapshot.train.first(self.samples)
        model = copy.deepcopy(model).double()
        states = model.states(subset.inputs.double())
        targets = objective.targets(subset).double()
        norms = [torch.linalg.vector_norm(x, dim=1).cpu().numpy() for x in states[:-1]]
        weights = [
            [torch.linalg.matrix_norm(layer.weight(j), 2).item() for j in layer.parents]  # type: ignore[operator, union-attr]
            for layer in model.layers
        ]
        scale = 1 / len(targets)
        residuals = torch.linalg.vector_norm(states[-1] - targets, dim=1).cpu().numpy()
        loss = float((residuals**2).sum()) * scale / 2
        pointwise = path_sums(model.parents, model.activations, weights, norms)
        uniform = uniform_layer_norms(model.widths, model.activations, norms[0])
        anywhere = path_sums(model.parents, model.activations, weights, uniform)
        return [
            Row("hessian_path_bound", float(hessian_bound(pointwise, residuals, scale))),
            Row("sublevel_hessian_bound", float(sublevel_hessian_bound(anywhere, loss, scale))),
        ]
