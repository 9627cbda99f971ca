"""Loss and accuracy on all training and test examples, at every evaluation."""

from __future__ import annotations

from typing import ClassVar

from boundcheck.contracts import Training
from boundcheck.settings import settings


@settings
class AccuracyRecorder:
    """Records `train_accuracy`, `test_accuracy` (fractions), `full_train_loss` and `test_loss`, in evaluation mode."""

    needs_gradient: ClassVar[bool] = False
    quantities: ClassVar[str] = "full_train_loss test_loss train_accuracy test_accuracy"

    def on_step(self, training: Training) -> None:
        """Do nothing."""

    def on_epoch(self, training: Training) -> None:
        """Evaluate both splits and record one value per seed."""
        for split, loss_name in (("train", "full_train_loss"), ("test", "test_loss")):
            loss, accuracy = training.evaluate(split)  # type: ignore[arg-type]
            training.curve.record(loss_name, training.step, training.epoch, loss)
            training.curve.record(f"{split}_accuracy", training.step, training.epoch, accuracy)
