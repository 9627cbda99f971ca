"""Common code of the methods that wrap a base optimizer, as config variants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.registry import build_part
from boundcheck.settings import among

if TYPE_CHECKING:
    from boundcheck.methods.adamw import AdamWMethod
    from boundcheck.methods.sgd import SGDMethod

BASES = {kind: METHODS[kind] for kind in ("sgd", "adamw")}
BaseVariant = Annotated[Mapping[str, Any], among("methods", *BASES)]


class MultiPassMethod:
    """A MultiPass as a config variant: a dataclass with the field `base`; its other fields are arguments of `wrapper`.

    An instance builds an optimizer of one parameter when it is made, which checks every number.
    """

    base: Mapping[str, Any]
    wrapper: ClassVar[type[MultiPass]]
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.optimizer(nn.ParameterList([torch.zeros(1)]))

    @property
    def lr(self) -> float:
        """η, the learning rate of the base."""
        return self._base().lr

    @property
    def weight_decay(self) -> float:
        """λ of the base."""
        return self._base().weight_decay

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model, unchanged."""
        return model

    def optimizer(self, model: nn.Module, num_stacked: int = 1) -> MultiPass:
        """The optimizer of all parameters of the model, or of a stack of models."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "base"]  # type: ignore[arg-type]
        settings = {name: getattr(self, name) for name in names}
        base = self._base().optimizer(model, num_stacked)
        return self.wrapper(base, **settings, model=model, num_stacked=num_stacked)

    def _base(self) -> SGDMethod | AdamWMethod:
        return build_part("base", BASES, self.base)
