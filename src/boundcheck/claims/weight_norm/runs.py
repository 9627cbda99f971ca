"""Which runs of weight-normalised networks a theorem is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.rows import RUN
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import build

if TYPE_CHECKING:
    import pandas as pd

NOT_OF_THE_KIND = ("name", "num_gradients")  # what the settings of a run have besides those of its kind


def of_runs(rows: pd.DataFrame, runs: pd.DataFrame, *holds: Callable[[Any], bool]) -> np.ndarray:
    """For each row (n,), whether every `holds(run)` is true of its run, a mapping of the run table's columns.

    Of a missing run nothing is known, so nothing is true of it.
    """
    answers = {
        tuple(run[key] for key in RUN): run["status"] != "missing" and all(hold(run) for hold in holds)
        for run in runs.to_dict("records")
    }
    return np.array([answers[key] for key in zip(*(rows[name] for name in RUN), strict=True)], dtype=bool)


def normalises_rows(run: Mapping[str, Any]) -> bool:
    """Whether the run's model has normalised rows."""
    return getattr(_built(MODELS, run["model_spec"]), "normalises_rows", False)


def follows_gradient(run: Mapping[str, Any]) -> bool:
    """Whether each step is −η times the gradient of its batch: no momentum, decay or scaling of coordinates."""
    return getattr(_built(METHODS, run["method_spec"]), "follows", None) == "gradient"


def follows_past_gradients(run: Mapping[str, Any]) -> bool:
    """Whether no step can shorten normalised rows: gradient descent, also with heavy-ball momentum, without decay."""
    return getattr(_built(METHODS, run["method_spec"]), "follows", None) in ("gradient", "past gradients")


def is_full_batch(run: Mapping[str, Any]) -> bool:
    """Whether every step sees all examples."""
    return run["training"]["batch_size"] == "full"


def is_square_on_sphere(run: Mapping[str, Any]) -> bool:
    """Whether the loss is the square loss and all inputs have the length √d, as the smoothness β assumes."""
    return run["training"]["loss"] == "square" and run["dataset_spec"]["normalise"] == "sphere"


def _built(registry: Mapping[str, str], settings: Mapping[str, Any]) -> Any:
    return build(registry, {key: value for key, value in settings.items() if key not in NOT_OF_THE_KIND})
