"""The mini-batch loss of every step."""

from __future__ import annotations

from typing import ClassVar

from boundcheck.contracts import Training
from boundcheck.settings import settings


@settings
class LossRecorder:
    """Records `train_loss`: the objective on the step's mini-batch at the parameters before the step."""

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "train_loss"

    def on_step(self, training: Training) -> None:
        """Record one value per seed."""
        training.curve.record("train_loss", training.step, training.epoch, training.losses)

    def on_epoch(self, training: Training) -> None:
        """Do nothing."""
