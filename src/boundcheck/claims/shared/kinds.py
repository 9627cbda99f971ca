"""The model or method of a cell as an object, for what only its kind can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import build

NOT_OF_THE_KIND = ("name", "num_gradients")  # what resolved settings have besides those of the kind


def model_of(cell: Mapping[str, Any]) -> Any:
    """The model of a cell, from its resolved settings."""
    return build(MODELS, _own(cell["model"]))


def method_of(cell: Mapping[str, Any]) -> Any:
    """The method of a cell, from its resolved settings."""
    return build(METHODS, _own(cell["method"]))


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a kind takes, also of the variants inside."""
    kept = {name: value for name, value in settings.items() if name not in NOT_OF_THE_KIND}
    return {name: _own(value) if isinstance(value, Mapping) else value for name, value in kept.items()}
