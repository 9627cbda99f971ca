"""What a setting may be: the types of the fields of every kind, and the settings of a training.

A kind is a dataclass made by `settings`; the types below say what its fields may hold. They are the one source of the
checks, of the error messages, of the schema that editors read, and of the list of kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]

settings = partial(dataclass, frozen=True, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


@settings
class TrainingSettings:
    """How a cell is trained: the key `training` of a grid block, with the overrides of its method.

    Args:
        loss: what is minimised; `square` is against one-hot targets, or ±1 where there are two classes.
        label_smoothing: s of the targets (1 − s) onehot + s/K.
        teacher: of `distillation`: the variant of the teacher, with its name and file.
        temperature: of `distillation`: what both networks' outputs are divided by.
        label_weight: of `distillation`: share of the cross entropy against the labels.
        epochs: passes over the training images.
        batch_size: images of a step, or `full`: then an epoch is one step.
        lr_schedule: how the learning rate moves.
        lr_update: whether it moves every step or every epoch.
        final_lr_factor: where `cosine` and `linear` end, as a share of the initial rate.
        warmup_epochs: epochs of the linear rise at the start.
        step_epochs: where `step` drops.
        step_factor: by what factor `step` drops.
        precision: of weights and sums; `bfloat16` computes the forward pass in bfloat16.
        channels_last: memory layout of convolutions; `auto` where it is faster.
        deterministic: whether a GPU uses deterministic kernels only.
        max_loss: a mini-batch loss beyond it, or NaN, is recorded as diverged.
        evaluate_every: epochs between evaluations on the whole splits.
        augment: `crop` (pixels of padding), `flip`, `cutout` (side in pixels).
    """

    loss: Literal["cross_entropy", "square", "reconstruction", "distillation"] = "cross_entropy"
    label_smoothing: ShareBelowOne = 0.0
    teacher: Mapping[str, Any] | None = None
    temperature: Positive = 1.0
    label_weight: ShareBelowOne = 0.0
    epochs: CountOrZero = 10
    batch_size: Count | Literal["full"] = 128
    lr_schedule: Literal["constant", "cosine", "linear", "step", "inverse_sqrt"] = "constant"
    lr_update: Literal["step", "epoch"] = "step"
    final_lr_factor: Share = 0.0
    warmup_epochs: NotNegative = 0.0
    step_epochs: tuple[NotNegative, ...] | list[NotNegative] = ()
    step_factor: Positive = 0.1
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    channels_last: Literal["auto"] | bool = "auto"
    deterministic: bool = True
    max_loss: Positive = 1e4
    evaluate_every: Count = 1
    augment: Mapping[str, Any] = Field(default_factory=dict)
