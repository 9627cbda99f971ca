"""Which seeds of a stack diverge, and when: their loss is NaN or leaves an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Divergence:
    """Watches the losses; they wait on the device until `test`, so that watching costs no synchronisation.

    Attributes:
        steps: the step, counted from the seed's own start, at which it diverged; None: not so far.
        reasons: in words; empty for a seed that did not diverge.
    """

    def __init__(self, num_seeds: int, max_loss: float) -> None:
        self.max_loss = max_loss
        self.steps: list[int | None] = [None] * num_seeds
        self.reasons = [""] * num_seeds
        self._recent: list[Tensor] = []
        self._first_rows = [0] * num_seeds

    def watch(self, losses: Tensor) -> None:
        """The losses (k,) of a step."""
        self._recent.append(losses)

    def forget(self, place: int) -> None:
        """The seed at `place` starts afresh: its losses so far do not matter."""
        self._first_rows[place] = len(self._recent)

    def test(self, step: int, first_steps: Sequence[int]) -> None:
        """Look at what was watched since the last test.

        Args:
            step: steps of the stack so far.
            first_steps: at which of them each seed started.
        """
        if not self._recent:
            return
        losses = torch.stack(self._recent).double().cpu()  # (m, k)
        bad = ~(losses.abs() <= self.max_loss)  # true for NaN too
        for place, first_row in enumerate(self._first_rows):
            if self.steps[place] is None and bool(bad[first_row:, place].any()):
                row = first_row + int(bad[first_row:, place].int().argmax())
                own_step = step - len(self._recent) + row - first_steps[place]
                self.steps[place] = own_step
                self.reasons[place] = f"training loss {losses[row, place].item():.4g} at step {own_step}"
        self._recent.clear()
        self._first_rows = [0] * len(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """What was found so far; to be asked for after `test`."""
        return {"steps": self.steps, "reasons": self.reasons}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.steps, self.reasons = state["steps"], state["reasons"]
