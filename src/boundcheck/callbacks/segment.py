"""The curvature of the loss along the newest step of every seed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from boundcheck.contracts import Training
from boundcheck.curvature.stacked_lanczos import stacked_extremes
from boundcheck.optional_members import KeepsUpdate, KnowsInputDims

POINTS = (0.0, 0.5, 1.0)  # the start, middle and end of a step
GRADIENT_SHARE = 0.3  # weight of the gradient in a warm start


class SegmentCurvature(NamedTuple):
    """Curvatures (k,) of E on the segment of a step. E includes the penalty of weight decay."""

    largest: Tensor  # the largest over the points, its Lanczos residual included
    at_start: Tensor  # λ_max before the step
    smallest: Tensor  # the smallest Ritz value over the points
    vectors: Tensor  # (points, k, p), start vectors for the next measurement


def measure_segment(training: Training, num_products: int, warm: Tensor | None = None) -> SegmentCurvature:
    """λ_max of ∇²E at the start, the middle and the end of the newest step.

    It is no rigorous bound between the three points: there the error may be ‖Δθ‖ times the change of the Hessian.

    Args:
        training: the training after a step. If its optimizer does not keep its `update`, all three points are the end
            of the step.
        num_products: Hessian-vector products for each point.
        warm: `vectors` of the last measurement.
    """
    named = {name: p.detach() for name, p in training.model.named_parameters() if p.requires_grad}
    num_seeds = len(training.losses)
    end = torch.cat([p.reshape(num_seeds, -1) for p in named.values()], dim=1)  # (k, p)
    optimizer = training.optimizer
    update = optimizer.update if isinstance(optimizer, KeepsUpdate) else None
    update = torch.zeros_like(end) if update is None else update
    theta = torch.cat([end - (1 - point) * update for point in POINTS])  # (3k, p)
    theta.requires_grad_()
    inputs, targets = training.batch
    with torch.enable_grad():
        total = _total_loss(training, named, theta, inputs, targets)
        (gradient,) = torch.autograd.grad(total, theta, create_graph=True)
    decay = float(training.optimizer.param_groups[0].get("weight_decay", 0.0))

    def matvec(vector: Tensor) -> Tensor:
        with torch.enable_grad():
            slope = (gradient * vector).sum()
        return torch.autograd.grad(slope, theta, retain_graph=True)[0].contiguous()

    start = _unit(gradient.detach())
    if warm is not None:
        start = warm.reshape(start.shape) + GRADIENT_SHARE * start
    extremes = stacked_extremes(matvec, start, num_products)
    largest, smallest = extremes.largest + decay, extremes.smallest + decay
    by_point = (len(POINTS), num_seeds)
    return SegmentCurvature(
        (largest + extremes.residual).reshape(by_point).amax(0),
        largest.reshape(by_point)[0],
        smallest.reshape(by_point).amin(0),
        extremes.vector.reshape(*by_point, -1),
    )


def _total_loss(training: Training, named: dict[str, Tensor], theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """The sum of the losses of all rows of θ (m, p). A stack computes them in one pass, a single network one by one."""
    num_seeds, num_rows = len(training.losses), len(theta)
    pieces = theta.split([p.numel() // num_seeds for p in named.values()], dim=1)
    if num_seeds == 1:
        shapes = [p.shape for p in named.values()]
        rows = [
            {n: piece[i].view(shape) for n, piece, shape in zip(named, pieces, shapes, strict=True)}
            for i in range(num_rows)
        ]
        model: nn.Module = training.model
        return sum(training.objective.losses(functional_call(model, r, (inputs,)), targets) for r in rows)  # type: ignore[return-value]
    state = {n: piece.reshape(num_rows, *p.shape[1:]) for (n, p), piece in zip(named.items(), pieces, strict=True)}
    # a full batch is shared; mini-batches have a leading axis of seeds, repeated for each point
    is_shared = inputs.dim() == 0 or len(inputs) != num_seeds or _is_shared(training, inputs)
    if not is_shared:
        inputs, targets = (x.repeat(num_rows // num_seeds, *[1] * (x.dim() - 1)) for x in (inputs, targets))
    return training.objective.losses(functional_call(training.model, state, (inputs,)), targets).sum()


def _is_shared(training: Training, inputs: Tensor) -> bool:
    """Whether all seeds share the batch, so that it has no axis of seeds. False if the network does not know."""
    model = training.model
    return isinstance(model, KnowsInputDims) and inputs.dim() == model.num_input_dims + 1


def _unit(vector: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    flat = torch.full_like(vector, vector.shape[1] ** -0.5)
    return torch.where(norm > 0, vector / norm, flat)
