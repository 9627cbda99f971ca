"""The callbacks that a cell's `record` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from boundcheck.callbacks import CALLBACKS
from boundcheck.contracts import Callback, Restart
from boundcheck.registry import as_variant, build


class Recorders:
    """One callback for each entry of `record`, by its kind.

    Raises:
        ValueError: an unknown kind, a setting that its kind rejects, or a kind that stands there twice.
    """

    def __init__(self, record: Iterable[str | Mapping[str, Any]]) -> None:
        self.by_kind: dict[str, Callback] = {}
        for variant in map(as_variant, record):
            callback = build(CALLBACKS, variant)
            if variant["kind"] in self.by_kind:
                raise ValueError(f"got {variant['kind']} twice; allowed: each kind once")
            self.by_kind[variant["kind"]] = callback

    @property
    def need_gradient(self) -> bool:
        """Whether one of them asks for the gradient of every step."""
        return any(callback.needs_gradient for callback in self.by_kind.values())

    @property
    def may_restart(self) -> bool:
        """Whether one of them may ask seeds to start afresh."""
        return any(map(_may_restart, self.by_kind.values()))

    def check(self, training: Mapping[str, Any]) -> None:
        """Refuse restarts where there are mini-batches: their order would go on where the weights go back.

        Raises:
            ValueError: with what is allowed.
        """
        if self.may_restart and training["batch_size"] != "full":
            kinds = ", ".join(kind for kind, callback in self.by_kind.items() if _may_restart(callback))
            raise ValueError(
                f"batch_size: got {training['batch_size']}; allowed: full, since {kinds} may restart seeds"
            )

    def on_step(self, training: Any) -> list[Restart]:
        """Let each record a step; the restarts that they ask for.

        Raises:
            TypeError: a callback asks for one that does not say so in its class.
        """
        asked = []
        for kind, callback in self.by_kind.items():
            restart = callback.on_step(training)
            if restart is not None:
                if not _may_restart(callback):
                    raise TypeError(f"{kind}: asks for a restart, but its class does not say `restarts = True`")
                asked.append(restart)
        return asked

    def on_epoch(self, training: Any) -> None:
        """Let each record an epoch."""
        for callback in self.by_kind.values():
            callback.on_epoch(training)

    def arrays(self, num_seeds: int) -> dict[str, dict[str, Tensor]]:
        """What those leave that leave arrays, by kind.

        Raises:
            ValueError: an array whose leading axis is not that of the seeds.
        """
        found = {kind: dict(each.arrays()) for kind, each in self.by_kind.items() if hasattr(each, "arrays")}
        for kind, arrays in found.items():
            for name, array in arrays.items():
                if array.shape[:1] != (num_seeds,):
                    shape, allowed = tuple(array.shape), f"a leading axis of {num_seeds} seeds"
                    raise ValueError(f"{kind}: got {name} of shape {shape}; allowed: {allowed}")
        return found

    def state_dict(self) -> dict[str, Any]:
        """The states of those that have one, by kind."""
        return {kind: each.state_dict() for kind, each in self.by_kind.items() if hasattr(each, "state_dict")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for kind, own in state.items():
            self.by_kind[kind].load_state_dict(own)  # type: ignore[attr-defined]


def _may_restart(callback: Callback) -> bool:
    return getattr(callback, "restarts", False)
