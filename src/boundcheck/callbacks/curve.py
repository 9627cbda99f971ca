"""The curves of a training: the values that callbacks record, one per seed and step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

NAN = float("nan")


class Curve:
    """Collects values with `record`, and returns them as columns of the tidy table.

    Values stay on the device until `flush`, so that recording a loss does not wait for the device.

    Attributes:
        first_steps: the step of the stack at which each seed last started (0 unless it was restarted).
        is_recorded: for each seed, whether values are recorded now; False for a seed that has finished.
        restarts: one entry per restart: index of the seed in the stack, its own step, number of the restart, new
            learning rate.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self.first_steps = [0] * len(self.seeds)
        self.is_recorded = (True,) * len(self.seeds)
        self.restarts: list[tuple[int, int, int, float]] = []
        self._pending: list[tuple[str, int, float, int, tuple[bool, ...], Tensor]] = []
        self._rows: list[tuple[str, int, float, int]] = []
        self._kept: list[Tensor] = []
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
        """Record `values` (k,), one for each seed, after `step` steps or `epoch` epochs of the stack.

        Args:
            quantity: the name of the quantity.
            step: step of the stack. The table has the seed's own step, counted from its last start.
            epoch: epoch of the stack; likewise.
            values: on any device.
            index: such as the number of a layer or of an eigenvalue.
            where: whether to record the value of each seed; None: record all.
        """
        kept = self.is_recorded
        if where is not None:
            kept = tuple(a and bool(b) for a, b in zip(kept, where, strict=True))
        self._pending.append((quantity, step, epoch, index, kept, values.detach().reshape(-1)))

    def restart(self, seed_index: int, step: int, lr: float) -> None:
        """Note that a seed of the stack starts again after the step `step`. Its earlier records are dropped."""
        own_step = step - self.first_steps[seed_index]
        self.restarts.append((seed_index, own_step, self.num_restarts(seed_index) + 1, lr))
        self.first_steps[seed_index] = step + 1

    def num_restarts(self, seed_index: int) -> int:
        """The number of restarts of a seed of the stack."""
        return sum(restarted == seed_index for restarted, *_ in self.restarts)

    def flush(self) -> None:
        """Copy the values that are still on the device to the CPU."""
        if self._pending:
            self._rows += [entry[:4] for entry in self._pending]
            self._kept.append(torch.tensor([entry[4] for entry in self._pending]))  # (m, k)
            self._values.append(torch.stack([entry[5].double() for entry in self._pending]).cpu())  # (m, k)
            self._pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """All rows so far, for a checkpoint."""
        self.flush()
        empty = torch.zeros(0, len(self.seeds))
        return {
            "rows": [list(row) for row in self._rows],
            "kept": torch.cat([empty.bool(), *self._kept]),
            "values": torch.cat([empty.double(), *self._values]),
            "first_steps": list(self.first_steps),
            "restarts": [list(restart) for restart in self.restarts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rows of a checkpoint."""
        self._rows = [tuple(row) for row in state["rows"]]
        self._kept, self._values = [state["kept"]], [state["values"]]
        self.first_steps = list(state["first_steps"])
        self.restarts = [tuple(restart) for restart in state["restarts"]]
        self._pending.clear()

    def columns(self, last_step: Sequence[int | None]) -> dict[str, list[Any]]:
        """Columns of the tidy table, with each seed's own steps.

        Args:
            last_step: for each seed, its own step at which it diverged and its rows end; None: it did not diverge.
        """
        names = ("seed", "step", "epoch", "quantity", "index", "coordinate", "value", "error")
        columns: dict[str, list[Any]] = {name: [] for name in names}
        state = self.state_dict()
        bounds = list(zip(self.seeds, self.first_steps, last_step, strict=True))
        rows = zip(self._rows, state["kept"].tolist(), state["values"].tolist(), strict=True)
        for (quantity, step, epoch, index), kept, values in rows:
            for (seed, first, end), is_kept, value in zip(bounds, kept, values, strict=True):
                if is_kept and step >= first and (end is None or step - first <= end):
                    # only full batches restart: then an epoch is a step
                    row = (seed, step - first, epoch - first, quantity, index, NAN, value, NAN)
                    for name, cell in zip(names, row, strict=True):
                        columns[name].append(cell)
        for seed_index, step, number, lr in self.restarts:
            row = (self.seeds[seed_index], step, float(step), "restart", number, NAN, lr, NAN)
            for name, cell in zip(names, row, strict=True):
                columns[name].append(cell)
        return columns

    def latest(self, *quantities: str) -> str:
        """The newest value of each quantity, averaged over the seeds, as text for the log."""
        latest: dict[str, float] = {}
        start = len(self._rows)
        for block in reversed(self._values[-8:]):
            start -= len(block)
            for row, value in reversed(list(zip(self._rows[start:], block, strict=False))):
                if row[0] in quantities and row[0] not in latest:
                    latest[row[0]] = float(value.mean())
        return "  ".join(f"{name} {latest[name]:.4f}" for name in quantities if name in latest)
