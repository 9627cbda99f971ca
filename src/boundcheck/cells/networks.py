"""The networks of a cell at their start, and the objective that they minimise."""

from __future__ import annotations

import math

from torch import nn

from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import Examples
from boundcheck.contracts import Objective, Splits
from boundcheck.objectives import build_objective


def num_outputs(loss: str, splits: Splits) -> int:
    """How many numbers a network gives for one input.

    As many as the input has for `reconstruction`; one for two classes under the `square` loss, which compares it with
    ±1; else one for each class.
    """
    if loss == "reconstruction":
        return math.prod(splits.input_shape)
    return 1 if loss == "square" and splits.num_classes == 2 else splits.num_classes


def build_network(cell: Cell, splits: Splits, seed: int) -> nn.Module:
    """The network of one seed at its start, on the CPU, as the method wants it (reparametrised, binarised)."""
    outputs = num_outputs(cell.training.loss, splits)
    network = cell.model.build(splits.input_shape, outputs, cell.generator("init", seed))
    return cell.method.prepare(network)


def cell_objective(cell: Cell, examples: Examples) -> Objective:
    """The objective of a cell; the one of distillation knows the teacher's outputs on the network's inputs."""
    if cell.teacher is None:
        return build_objective(cell.training)
    teacher, file = cell.teacher
    outputs = teacher.function(file, examples.splits, cell.view.normalise, examples.device, cell.dtype)
    return build_objective(cell.training, outputs)
