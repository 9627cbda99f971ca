"""The loss on all training and test examples, for networks that do not classify."""

from __future__ import annotations

from typing import ClassVar

from boundcheck.contracts import Training
from boundcheck.settings import settings


@settings
class SplitLossRecorder:
    """Records `full_train_loss` and `test_loss` at every evaluation, in evaluation mode."""

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "full_train_loss test_loss"

    def on_step(self, training: Training) -> None:
        """Do nothing."""

    def on_epoch(self, training: Training) -> None:
        """Record one value per seed and split."""
        training.curve.record("full_train_loss", training.step, training.epoch, training.evaluate("train")[0])
        training.curve.record("test_loss", training.step, training.epoch, training.evaluate("test")[0])
