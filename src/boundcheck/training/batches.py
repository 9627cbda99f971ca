"""Mini-batches of a stack of seeds: their order, their augmentation, and the state that makes them repeatable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import Examples
from boundcheck.contracts import Split
from boundcheck.data.augment import Augment


class Batches:
    """Each seed of the stack sees the training split in its own order, the same for every method.

    A full batch without augmentation is the split itself, shared by the seeds.

    Args:
        cell: it says how large a batch is, how images are augmented, and where the random numbers come from.
        examples: of the cell.
        seeds: of the stack, k of them.
    """

    def __init__(self, cell: Cell, examples: Examples, seeds: Sequence[int]) -> None:
        self.split, self.network_inputs, self.augment = examples.splits.train, examples.network_inputs, cell.augment
        self.num_examples = len(self.split.labels)
        self.size = cell.batch_size(self.num_examples)
        self.num_batches = math.ceil(self.num_examples / self.size)  # the last one may be smaller
        self._orders = [cell.generator("order", seed) for seed in seeds]
        self._augments = [cell.generator("augment", seed) for seed in seeds]
        self._permutation = torch.zeros(0, dtype=torch.int64)
        self._full_batch: Split | None = None
        if self.num_batches == 1 and cell.augment == Augment():
            self._full_batch = Split(self.network_inputs(self.split.inputs), self.split.labels)

    def at(self, step: int) -> Split:
        """The batch of a step: inputs (b, ...) or (k, b, ...), labels alike. Call it for every step in order."""
        if self._full_batch is not None:
            return self._full_batch
        position = step % self.num_batches
        if position == 0:
            rows = [torch.randperm(self.num_examples, generator=order) for order in self._orders]
            self._permutation = torch.stack(rows).to(self.split.inputs.device)  # (k, n)
        chosen = self._permutation[:, position * self.size : (position + 1) * self.size]  # (k, b)
        inputs = self.augment(self.network_inputs(self.split.inputs[chosen]), self._augments)  # (k, b, ...)
        labels = self.split.labels[chosen.to(self.split.labels.device)]
        return Split(inputs, labels) if len(chosen) > 1 else Split(inputs[0], labels[0])

    def state_dict(self) -> dict[str, Any]:
        """The generators and the order of the current epoch."""
        return {
            "orders": [g.get_state() for g in self._orders],
            "augments": [g.get_state() for g in self._augments],
            "permutation": self._permutation,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for generators, name in ((self._orders, "orders"), (self._augments, "augments")):
            for generator, bits in zip(generators, state[name], strict=True):
                generator.set_state(bits)
        self._permutation = state["permutation"].to(self.split.inputs.device)
