"""Test minus training loss, and what the theory of weight-normalised networks allows it to be."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

from boundcheck.contracts import Objective, Row, Snapshot, Split
from boundcheck.models.weight_norm_network import WeightNormNetwork
from boundcheck.objectives import Square
from boundcheck.settings import InnerShare, settings
from boundcheck.theory.weight_norm.generalisation import generalisation_gap_bound
from boundcheck.theory.weight_norm.network import paper_scales

BATCH = 1000


@settings
class GeneralisationGap:
    """Rows `train_loss`, `test_loss`, `gap` = test − train, `num_samples`; and where the theory applies `gap_bound`,
    `zero_loss` (that of predicting 0, which needs no training) and `num_samples_needed`, the n at which the bound would
    fall to it: below, a test loss under the bound is no achievement, and the bound is vacuous.

    It applies to a normalised weight_norm_mlp without gains in the paper's scaling, under the square loss.

    Args:
        confidence: 1 − δ of the bound.
    """

    quantities: ClassVar[str] = "train_loss test_loss gap num_samples gap_bound zero_loss num_samples_needed"

    confidence: InnerShare = 0.95

    def measure(self, snapshot: Snapshot) -> list[Row]:
        """See contracts.Analysis."""
        model, objective, train, test, *_ = snapshot
        losses = [_mean_loss(model, objective, split) for split in (train, test)]
        num = len(train.labels)
        rows = [
            Row("train_loss", losses[0]),
            Row("test_loss", losses[1]),
            Row("gap", losses[1] - losses[0]),
            Row("num_samples", num),
        ]
        if not isinstance(objective, Square) or not _is_in_paper_form(model):
            return rows
        network = model.theory()  # type: ignore[operator]
        inputs = torch.cat([train.inputs.flatten(1), test.inputs.flatten(1)]).double()
        length = torch.linalg.vector_norm(inputs, dim=-1).max().item() / math.sqrt(inputs.shape[1])
        norms = torch.linalg.vector_norm(network.output, dim=-1).tolist()
        bound = generalisation_gap_bound(
            num, norms, network.depth, network.activation, length, confidence=self.confidence
        )
        zeros = torch.zeros(num, len(norms), dtype=torch.float64, device=train.labels.device)
        zero_loss = objective.losses(zeros, train.labels).item()
        return [
            *rows,
            Row("gap_bound", bound),
            Row("zero_loss", zero_loss),
            Row("num_samples_needed", math.ceil(num * (bound / zero_loss) ** 2)),
        ]


def _is_in_paper_form(model: nn.Module) -> bool:
    if not isinstance(model, WeightNormNetwork) or model.gains != "none":
        return False
    network = model.theory()
    return network.normalised and [*network.s[1:]] == paper_scales(network.widths)


@torch.no_grad()
def _mean_loss(model: nn.Module, objective: Objective, split: Split) -> float:
    training = model.training
    model.eval()
    total = 0.0
    for start in range(0, len(split.labels), BATCH):
        part = Split(split.inputs[start : start + BATCH], split.labels[start : start + BATCH])
        total += objective.losses(model(part.inputs), objective.targets(part)).double().item() * len(part.labels)
    model.train(training)
    return total / len(split.labels)
