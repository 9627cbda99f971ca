"""All settings of a cell, defaults included: what its results, the tables and the claims read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.data import DATASETS
from boundcheck.data.augment import Augment
from boundcheck.data.view import View
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import VIEW_KEYS, as_variant, resolved
from boundcheck.settings import TrainingSettings

NOT_OF_THE_KIND = ("name", "training", "file", *VIEW_KEYS)  # keys of a variant in a spec that its kind does not have


def settings_of(variant: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of a variant and the settings of that kind: what `registry.build` needs."""
    return {key: value for key, value in variant.items() if key not in NOT_OF_THE_KIND}


def view_of(dataset: Mapping[str, Any]) -> View:
    """Which examples of a dataset a cell uses, and how they are normalised."""
    return View(**{key: dataset[key] for key in VIEW_KEYS if key in dataset})


def resolved_settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a cell, those that the config leaves to a default among them.

    Args:
        spec: dataset, model, method, training, record, and analyses where the cell is measured.

    Returns:
        `dataset`, `model` and `method` with their names, `training`, and the lists `record` and `analyses`.

    Raises:
        ValueError: a setting that its kind rejects.
    """
    return {
        "dataset": {**_named(DATASETS, spec["dataset"]), **_fields(view_of(spec["dataset"]))},
        "model": _named(MODELS, spec["model"]),
        "method": _named(METHODS, spec["method"]),
        "training": _training(spec["training"]),
        "record": [resolved(CALLBACKS, as_variant(entry)) for entry in spec["record"]],
        "analyses": [_named(ANALYSES, variant) for variant in spec.get("analyses", [])],
    }


def _named(registry: Mapping[str, str], variant: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": variant["name"], **resolved(registry, settings_of(variant))}


def _training(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = TrainingSettings(**given)
    teacher = settings.teacher
    return {
        **_fields(settings),
        "augment": _fields(Augment(**settings.augment)),
        "teacher": teacher and {**_named(DATASETS, teacher), "file": teacher["file"]},
    }


def _fields(settings: Any) -> dict[str, Any]:
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if field.init}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
