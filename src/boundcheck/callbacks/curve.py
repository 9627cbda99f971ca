"""The curve of a run: what the callbacks recorded, one value per seed at a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Curve:
    """Grows by `record`, and ends as the columns of the tidy table.

    Values stay on the device until `flush`, so that recording a loss costs no synchronisation.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self._pending: list[tuple[str, int, float, int, Tensor]] = []
        self._rows: list[tuple[str, int, float, int]] = []
        self._values: list[Tensor] = []

    def record(self, quantity: str, step: int, epoch: float, values: Tensor, index: int = -1) -> None:
        """Keep `values` (k,), one per seed, after `step` steps, that is `epoch` epochs."""
        self._pending.append((quantity, step, epoch, index, values.detach().reshape(-1)))

    def flush(self) -> None:
        """Bring what is pending to the CPU."""
        if self._pending:
            self._rows += [entry[:4] for entry in self._pending]
            self._values.append(torch.stack([entry[4].double() for entry in self._pending]).cpu())  # (m, k)
            self._pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """All rows so far, for a checkpoint."""
        self.flush()
        empty = torch.zeros(0, len(self.seeds), dtype=torch.float64)
        return {"rows": [list(row) for row in self._rows], "values": torch.cat([empty, *self._values])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint."""
        self._rows = [tuple(row) for row in state["rows"]]
        self._values = [state["values"]]
        self._pending.clear()

    def columns(self, last_step: Sequence[int | None]) -> dict[str, list[Any]]:
        """Columns of the tidy table; a seed's rows end at its `last_step` (None: no end), where it diverged."""
        values = self.state_dict()["values"].tolist()
        names = ("seed", "step", "epoch", "quantity", "index", "coordinate", "value", "error")
        columns: dict[str, list[Any]] = {name: [] for name in names}
        nan = float("nan")
        for (quantity, step, epoch, index), row in zip(self._rows, values, strict=True):
            for seed, end, value in zip(self.seeds, last_step, row, strict=True):
                if end is None or step <= end:
                    for name, cell in zip(names, (seed, step, epoch, quantity, index, nan, value, nan), strict=True):
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
