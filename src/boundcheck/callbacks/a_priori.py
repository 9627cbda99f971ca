"""An upper bound on the curvature of a DAG network with weight decay, known at the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from boundcheck.callbacks.penalised import step_start
from boundcheck.contracts import Training
from boundcheck.models.dag_net import DAGNetwork
from boundcheck.objectives import Reconstruction
from boundcheck.theory.dag_momentum.certificate import a_priori_curvature, ball_path_sums
from boundcheck.theory.dag_momentum.convergence import weight_bound


def curvature_on_the_ball(training: Training) -> Tensor:
    """The bound L(R) of `theory.dag_momentum.certificate` for each seed: (k,) float64.

    R is the radius of the ball that follows from the loss at the start of the newest step.

    Raises:
        ValueError: the network or the loss is of another kind, or there is no weight decay.
    """
    model, decay = training.model, training.optimizer.param_groups[0].get("weight_decay", 0.0)
    if not isinstance(model, DAGNetwork):
        raise ValueError(f"model: got {type(model).__name__}; allowed with rule a_priori: dag_net, autoencoder")
    if not isinstance(training.objective, Reconstruction):
        raise ValueError(f"loss: got {type(training.objective).__name__}; allowed with rule a_priori: reconstruction")
    if not decay > 0:
        raise ValueError(f"weight_decay: got {decay}; allowed with rule a_priori: > 0")
    inputs = training.batch[0].flatten(-model.num_input_dims)
    norms = torch.linalg.vector_norm(inputs.double(), dim=-1)  # (n,), or (k, n)
    objective = step_start(training, training.optimizer.update).objective.double()  # type: ignore[attr-defined]
    by_seed = norms.expand(len(objective), -1).cpu().numpy()
    curvatures = []
    for value, input_norms in zip(objective.tolist(), by_seed, strict=True):
        radius = float(weight_bound(value, decay))
        sums = ball_path_sums(model.widths, model.parents, model.activations, input_norms, radius)
        curvatures.append(float(a_priori_curvature(sums, value, decay, 1 / len(input_norms))))
    return torch.tensor(curvatures, dtype=torch.float64, device=objective.device)
