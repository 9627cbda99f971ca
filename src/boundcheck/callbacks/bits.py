"""Records the signs of all binary weights during training, packed, so that two trainings can be compared bit by bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boundcheck.contracts import Training
from boundcheck.models.binary_layers import binary_parameters
from boundcheck.settings import Count, settings


def signs(model: nn.Module, num_stacked: int) -> Tensor:
    """Whether each binary weight is +1: (k, n) bool, in the order of the layers."""
    return torch.cat([p.detach().view(num_stacked, -1) >= 0 for p in binary_parameters(model)], 1)


def pack(bits: Tensor) -> Tensor:
    """Pack eight bits into a byte, lowest bit first, the last byte padded with 0: (k, n) bool -> (k, ⌈n/8⌉) uint8."""
    k, n = bits.shape
    padded = F.pad(bits, (0, -n % 8)).view(k, -1, 8)
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (padded.to(torch.uint8) * weights).sum(-1, dtype=torch.uint8)


@settings(frozen=False)
class BitsRecorder:
    """Saves the bits before the first step and after every `every`-th step, as arrays beside the snapshots.

    Arrays of each seed: `bits` (T, ⌈n/8⌉) uint8, packed by `pack`; `steps` (T,); `num_weights`, n.

    Args:
        every: steps between records.
    """

    every: Count = 1
    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = ""
    _bits: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _steps: list[int] = field(default_factory=list, init=False, repr=False)
    _num_weights: int = field(default=0, init=False, repr=False)

    def on_step(self, training: Training) -> None:
        """Record after each `every`-th step."""
        if (training.step + 1) % self.every == 0:
            self._record(training, training.step + 1)

    def on_epoch(self, training: Training) -> None:
        """Record the bits before the first step."""
        if training.step == 0 and not self._steps:
            self._record(training, 0)

    def arrays(self) -> dict[str, Tensor]:
        """The recorded arrays, with a leading axis of seeds."""
        k = len(self._bits[0]) if self._bits else 0
        return {
            "bits": torch.stack(self._bits, 1) if self._bits else torch.zeros(0, 0, 0, dtype=torch.uint8),
            "steps": torch.tensor(self._steps, dtype=torch.int64).expand(k, -1).contiguous(),
            "num_weights": torch.full((k,), self._num_weights, dtype=torch.int64),
        }

    def state_dict(self) -> dict[str, Any]:
        """The records so far."""
        return {"bits": list(self._bits), "steps": list(self._steps), "num_weights": self._num_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the records of a checkpoint."""
        self._bits, self._steps = list(state["bits"]), list(state["steps"])
        self._num_weights = state["num_weights"]

    def _record(self, training: Training, step: int) -> None:
        bits = signs(training.model, len(training.curve.seeds))
        self._num_weights = bits.shape[1]
        self._bits.append(pack(bits).cpu())
        self._steps.append(step)


def layer_slices(model: nn.Module, num_stacked: int) -> Iterable[slice]:
    """The positions in `signs` of the bits of each binary layer."""
    start = 0
    for p in binary_parameters(model):
        end = start + p.numel() // num_stacked
        yield slice(start, end)
        start = end
