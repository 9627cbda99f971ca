"""Learning-rate schedules: the factor on the initial learning rate at each step."""

from __future__ import annotations

import math

from boundcheck.settings import TrainingSettings


def lr_factor(training: TrainingSettings, step: int, steps_per_epoch: int) -> float:
    """The factor on the initial learning rate at `step` (0, 1, ...) of a run.

    With t the progress after the warm-up, in [0, 1], and f the `final_lr_factor`:
    constant 1; cosine f + (1−f)(1+cos πt)/2; linear 1 − (1−f)t; step `step_factor`^(number of `step_epochs` passed);
    inverse_sqrt 1/√s for the s-th step after the warm-up, counted from 1.
    During `warmup_epochs` the factor rises linearly from 1/w to 1, w being the number of warm-up steps.
    `lr_update: epoch` holds the factor constant within an epoch: during the warm-up at what its last step would have.

    Args:
        training: the settings of the cell.
        step: optimizer steps already taken.
        steps_per_epoch: optimizer steps in one epoch.
    """
    warmup = round(training.warmup_epochs * steps_per_epoch)
    is_by_epoch = training.lr_update == "epoch"
    if is_by_epoch:
        step -= step % steps_per_epoch
    if step < warmup:
        return min(1.0, (step + (steps_per_epoch if is_by_epoch else 1)) / warmup)
    total = training.epochs * steps_per_epoch
    progress = (step - warmup) / max(total - warmup, 1)
    final = training.final_lr_factor
    match training.lr_schedule:
        case "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
        case "linear":
            return 1 - (1 - final) * progress
        case "inverse_sqrt":
            return (step - warmup + 1) ** -0.5
        case "step":
            passed = sum(step >= epoch * steps_per_epoch for epoch in training.step_epochs)
            return training.step_factor**passed
        case _:
            return 1.0
