"""Loss and accuracy over a whole split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boundcheck.cells.examples import NetworkInputs
from boundcheck.contracts import Objective, Split
from boundcheck.objectives import accuracy
from boundcheck.training.layout import Layout

BATCH = 1000


@torch.no_grad()
def evaluate(
    model: nn.Module, objective: Objective, examples: Split, network_inputs: NetworkInputs, layout: Layout
) -> tuple[Tensor, Tensor]:
    """Loss and accuracy (k,) of a split in evaluation mode. The model is left in training mode.

    Args:
        model: a network, or a stack of k.
        objective: the loss.
        examples: the split, as it is stored.
        network_inputs: what turns stored inputs into those of the network.
        layout: how the network wants them.
    """
    n = len(examples.labels)
    model.eval()
    loss = num_right = torch.zeros((), dtype=torch.float64, device=layout.device)
    for start in range(0, n, BATCH):
        labels = examples.labels[start : start + BATCH]
        batch = Split(network_inputs(examples.inputs[start : start + BATCH]), labels)
        with layout.precision():
            outputs = model(layout.inputs(batch.inputs))
            losses = objective.losses(outputs, objective.targets(batch))
        loss = loss + losses.double() * len(labels)
        num_right = num_right + accuracy(outputs, labels) * len(labels)
    model.train()
    return (loss / n).reshape(-1), (num_right / n).reshape(-1)
