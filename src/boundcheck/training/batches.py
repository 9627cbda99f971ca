"""Mini-batches of a stack of seeds: their order, their augmentation, and the state that makes them repeatable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from boundcheck.cells.cell import Floats
from boundcheck.contracts import Split
from boundcheck.data.augment import Augment
from boundcheck.seeds import generator_for


class Batches:
    """Each seed of the stack sees the training split in its own order, the same for every method.

    A full batch without augmentation is the split itself, shared by the seeds.
    """

    def __init__(
        self,
        split: Split,
        floats: Floats,
        augment: Augment,
        size: int | str,
        names: tuple[str, str],
        seeds: Sequence[int],
    ) -> None:
        self.split, self.floats, self.augment = split, floats, augment
        self.num_examples = len(split.labels)
        self.size = self.num_examples if size == "full" else min(int(size), self.num_examples)
        self.num_batches = math.ceil(self.num_examples / self.size)  # the last one may be smaller
        self.is_whole = self.num_batches == 1 and augment == Augment()
        self._orders = [generator_for("order", *names, seed) for seed in seeds]
        self._augments = [generator_for("augment", *names, seed) for seed in seeds]
        self._permutation = torch.zeros(0, dtype=torch.int64)
        self._whole = Split(floats(split.inputs), split.labels) if self.is_whole else None

    def at(self, step: int) -> Split:
        """The batch of a step, to be asked for in order: inputs (b, ...) or (k, b, ...), labels alike."""
        if self._whole is not None:
            return self._whole
        position = step % self.num_batches
        if position == 0:
            rows = [torch.randperm(self.num_examples, generator=order) for order in self._orders]
            self._permutation = torch.stack(rows).to(self.split.inputs.device)  # (k, n)
        picked = self._permutation[:, position * self.size : (position + 1) * self.size]  # (k, b)
        inputs = self.augment(self.floats(self.split.inputs[picked]), self._augments)  # (k, b, ...)
        labels = self.split.labels[picked.to(self.split.labels.device)]
        return Split(inputs, labels) if len(picked) > 1 else Split(inputs[0], labels[0])

    def state_dict(self) -> dict[str, Any]:
        """Generators and the order of the current epoch."""
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
