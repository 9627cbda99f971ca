"""The curve of a run: what the callbacks recorded, one value per seed at a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

NAN = float("nan")


class Curve:
    """Grows by `record`, and ends as the columns of the tidy table.

    Values stay on the device until `flush`, so that recording a loss costs no synchronisation.

    Attributes:
        first_steps: the step of the stack at which each seed last started (0 unless it was restarted).
        counts: for which seeds of the stack a value counts that is recorded now.
        restarts: of all seeds: its place in the stack, its own step, the number of the restart, the new learning rate.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self.first_steps = [0] * len(self.seeds)
        self.counts = (True,) * len(self.seeds)
        self.restarts: list[tuple[int, int, int, float]] = []
        self._pending: list[tuple[str, int, float, int, tuple[bool, ...], Tensor]] = []
        self._rows: list[tuple[str, int, float, int]] = []
        self._counts: list[Tensor] = []
        self._values: list[Tensor] = []

    def record(
        self,
        quantity: str,
        step: int,
        epoch: float,
        values: Tensor,
        index: int = -1,
        where: Iterable[bool] | None = None,
    ) -> None:
        """Keep `values` (k,), one per seed, after `step` steps, that is `epoch` epochs of the stack.

        Args:
            quantity: its name.
            step: of the stack; the table will have each seed's own.
            epoch: of the stack, likewise.
            values: on any device.
            index: a layer, the number of an eigenvalue.
            where: of which seeds; None: of all.
        """
        counts = self.counts if where is None else tuple(a and bool(b) for a, b in zip(self.counts, where, strict=True))
        self._pending.append((quantity, step, epoch, index, counts, values.detach().reshape(-1)))

    def restart(self, place: int, step: int, lr: float) -> None:
        """The seed at `place` starts afresh after the step `step`: what it recorded before counts no more."""
        own_step = step - self.first_steps[place]
        self.restarts.append((place, own_step, self.num_restarts(place) + 1, lr))
        self.first_steps[place] = step + 1

    def num_restarts(self, place: int) -> int:
        """How often the seed at `place` was restarted."""
        return sum(restarted == place for restarted, *_ in self.restarts)

    def flush(self) -> None:
        """Bring what is pending to the CPU."""
        if self._pending:
            self._rows += [entry[:4] for entry in self._pending]
            self._counts.append(torch.tensor([entry[4] for entry in self._pending]))  # (m, k)
            self._values.append(torch.stack([entry[5].double() for entry in self._pending]).cpu())  # (m, k)
            self._pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """All rows so far, for a checkpoint."""
        self.flush()
        empty = torch.zeros(0, len(self.seeds))
        return {
            "rows": [list(row) for row in self._rows],
            "counts": torch.cat([empty.bool(), *self._counts]),
            "values": torch.cat([empty.double(), *self._values]),
            "first_steps": list(self.first_steps),
            "restarts": [list(restart) for restart in self.restarts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint."""
        self._rows = [tuple(row) for row in state["rows"]]
        self._counts, self._values = [state["counts"]], [state["values"]]
        self.first_steps = list(state["first_steps"])
        self.restarts = [tuple(restart) for restart in state["restarts"]]
        self._pending.clear()

    def columns(self, last_step: Sequence[int | None]) -> dict[str, list[Any]]:
        """Columns of the tidy table, with each seed's own steps.

        Args:
            last_step: where each seed's rows end because it diverged, in its own steps; None: nowhere.
        """
        names = ("seed", "step", "epoch", "quantity", "index", "coordinate", "value", "error")
        columns: dict[str, list[Any]] = {name: [] for name in names}
        state = self.state_dict()
        bounds = list(zip(self.seeds, self.first_steps, last_step, strict=True))
        rows = zip(self._rows, state["counts"].tolist(), state["values"].tolist(), strict=True)
        for (quantity, step, epoch, index), counts, values in rows:
            for (seed, first, end), counted, value in zip(bounds, counts, values, strict=True):
                if counted and step >= first and (end is None or step - first <= end):
                    # only full batches restart: then an epoch is a step
                    row = (seed, step - first, epoch - first, quantity, index, NAN, value, NAN)
                    for name, cell in zip(names, row, strict=True):
                        columns[name].append(cell)
        for place, step, number, lr in self.restarts:
            row = (self.seeds[place], step, float(step), "restart", number, NAN, lr, NAN)
            for name, cell in zip(names, row, strict=True):
                columns[name].append(cell)
        return columns

    def latest(self, *quantities: str) -> str:
        """The newest value of each quantity, averaged over the seeds, as text for the log."""
        found: dict[str, float] = {}
        start = len(self._rows)
        for block in reversed(self._values[-8:]):
            start -= len(block)
            for row, value in reversed(list(zip(self._rows[start:], block, strict=False))):
                if row[0] in quantities and row[0] not in found:
                    found[row[0]] = float(value.mean())
        return "  ".join(f"{name} {found[name]:.4f}" for name in quantities if name in found)
