"""The norm of the mini-batch gradient at every step."""

from __future__ import annotations

from typing import ClassVar

from boundcheck.contracts import Training
from boundcheck.settings import settings


@settings
class GradientNormRecorder:
    """Records `gradient_norm`: ‖∇L_B(θ)‖ of the step's mini-batch B at the parameters before the step."""

    needs_gradient: ClassVar[bool] = True
    quantities: ClassVar[str] = "gradient_norm"

    def on_step(self, training: Training) -> None:
        """Record one value per seed."""
        norms = training.gradient().norm(dim=-1)  # (k,)
        training.curve.record("gradient_norm", training.step, training.epoch, norms)

    def on_epoch(self, training: Training) -> None:
        """Do nothing."""
