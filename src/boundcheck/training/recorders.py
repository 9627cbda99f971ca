"""The callbacks that a cell's `record` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from boundcheck.contracts import Callback, Restart
from boundcheck.optional_members import KeepsState, LeavesArrays, MayRestart
from boundcheck.settings import TrainingSettings


class Recorders:
    """The callbacks of a training, by kind."""

    def __init__(self, callbacks: Mapping[str, Callback]) -> None:
        self.by_kind = dict(callbacks)

    @property
    def need_gradient(self) -> bool:
        """Whether one of them reads the gradient of every step."""
        return any(callback.needs_gradient for callback in self.by_kind.values())

    @property
    def may_restart(self) -> bool:
        """Whether one of them may ask seeds to start again."""
        return any(map(_may_restart, self.by_kind.values()))

    def check(self, training: TrainingSettings) -> None:
        """Refuse restarts with mini-batches: the weights would go back to the start, but not the order of the images.

        Raises:
            ValueError: with what is allowed.
        """
        if self.may_restart and training.batch_size != "full":
            kinds = ", ".join(kind for kind, callback in self.by_kind.items() if _may_restart(callback))
            raise ValueError(f"batch_size: got {training.batch_size}; allowed: full, since {kinds} may restart seeds")

    def on_step(self, training: Any) -> list[Restart]:
        """Let every callback record a step; returns the restarts that they ask for.

        Raises:
            TypeError: a callback asks for a restart, but its class does not say that it may.
        """
        requests = []
        for kind, callback in self.by_kind.items():
            restart = callback.on_step(training)
            if restart is not None:
                if not _may_restart(callback):
                    raise TypeError(f"{kind}: asks for a restart, but its class does not say `restarts = True`")
                requests.append(restart)
        return requests

    def on_epoch(self, training: Any) -> None:
        """Let every callback record an epoch."""
        for callback in self.by_kind.values():
            callback.on_epoch(training)

    def arrays(self, num_seeds: int) -> dict[str, dict[str, Tensor]]:
        """The arrays of those callbacks that leave some, by kind and name.

        Raises:
            ValueError: an array whose leading axis is not that of the seeds.
        """
        by_kind = {kind: dict(each.arrays()) for kind, each in self.by_kind.items() if isinstance(each, LeavesArrays)}
        for kind, arrays in by_kind.items():
            for name, array in arrays.items():
                if array.shape[:1] != (num_seeds,):
                    shape, allowed = tuple(array.shape), f"a leading axis of {num_seeds} seeds"
                    raise ValueError(f"{kind}: got {name} of shape {shape}; allowed: {allowed}")
        return by_kind

    def state_dict(self) -> dict[str, Any]:
        """The states of those callbacks that keep one, by kind."""
        return {kind: each.state_dict() for kind, each in self.by_kind.items() if isinstance(each, KeepsState)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for kind, own in state.items():
            callback = self.by_kind[kind]
            assert isinstance(callback, KeepsState)
            callback.load_state_dict(own)


def _may_restart(callback: Callback) -> bool:
    return isinstance(callback, MayRestart) and callback.restarts
