"""Which seeds of a stack diverge, and when: their loss is NaN or too large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Divergence:
    """Watches the losses. They stay on the device until `test`, so that watching does not wait for the device.

    Args:
        num_seeds: k, of the stack.
        max_loss: a seed whose loss is larger, or NaN, has diverged.

    Attributes:
        steps: the step at which each seed diverged, counted from its own start; None: not so far.
        reasons: why, in words; empty for a seed that did not diverge.
    """

    def __init__(self, num_seeds: int, max_loss: float) -> None:
        self.max_loss = max_loss
        self.steps: list[int | None] = [None] * num_seeds
        self.reasons = [""] * num_seeds
        self._recent: list[Tensor] = []
        self._first_rows = [0] * num_seeds

    def watch(self, losses: Tensor) -> None:
        """Take in the losses (k,) of a step."""
        self._recent.append(losses)

    def restart(self, seed_index: int) -> None:
        """A seed starts again: its losses so far do not matter."""
        self._first_rows[seed_index] = len(self._recent)

    def test(self, step: int, first_steps: Sequence[int]) -> None:
        """Look at the losses since the last test.

        Args:
            step: steps of the stack so far.
            first_steps: the step of the stack at which each seed last started.
        """
        if not self._recent:
            return
        losses = torch.stack(self._recent).double().cpu()  # (m, k)
        bad = ~(losses.abs() <= self.max_loss)  # true for NaN too
        for seed_index, first_row in enumerate(self._first_rows):
            if self.steps[seed_index] is None and bool(bad[first_row:, seed_index].any()):
                row = first_row + int(bad[first_row:, seed_index].int().argmax())
                own_step = step - len(self._recent) + row - first_steps[seed_index]
                self.steps[seed_index] = own_step
                self.reasons[seed_index] = f"training loss {losses[row, seed_index].item():.4g} at step {own_step}"
        self._recent.clear()
        self._first_rows = [0] * len(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """The steps and reasons so far. Call `test` first."""
        return {"steps": self.steps, "reasons": self.reasons}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.steps, self.reasons = state["steps"], state["reasons"]
