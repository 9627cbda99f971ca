"""Loss and accuracy over a whole split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boundcheck.cells.cell import Floats
from boundcheck.contracts import Objective, Split
from boundcheck.objectives import accuracy
from boundcheck.training.layout import Layout

BATCH = 1000


@torch.no_grad()
def evaluate(
    model: nn.Module, objective: Objective, examples: Split, floats: Floats, layout: Layout
) -> tuple[Tensor, Tensor]:
    """Loss and accuracy (k,) in evaluation mode; the model is left in training mode.

    Args:
        model: a network, or a stack of k.
        objective: the loss.
        examples: the split, as it is kept.
        floats: what turns its inputs into the network's.
        layout: how the network wants them.
    """
    n = len(examples.labels)
    model.eval()
    loss = hits = torch.zeros((), dtype=torch.float64, device=layout.device)
    for start in range(0, n, BATCH):
        labels = examples.labels[start : start + BATCH]
        batch = Split(floats(examples.inputs[start : start + BATCH]), labels)
        with layout.precision():
            outputs = model(layout.inputs(batch.inputs))
            losses = objective.losses(outputs, objective.targets(batch))
        loss = loss + losses.double() * len(labels)
        hits = hits + accuracy(outputs, labels) * len(labels)
    model.train()
    return (loss / n).reshape(-1), (hits / n).reshape(-1)
