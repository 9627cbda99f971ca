"""Which runs of weight-normalised networks a law is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def of_runs(rows: pd.DataFrame, runs: pd.DataFrame, *holds: Callable[[Any], bool]) -> np.ndarray:
    """For each row whether every `holds(run)` is true of its run, a mapping of the run table's columns.

    Of a missing run nothing is known, so that nothing is true of it.
    """
    wanted = ["dataset", "model", "method", "seed"]
    answers = {
        tuple(run[key] for key in wanted): run["status"] != "missing" and all(hold(run) for hold in holds)
        for run in runs.to_dict("records")
    }
    return np.array([answers[key] for key in zip(*(rows[name] for name in wanted), strict=True)], dtype=bool)


def is_normalised(run: Mapping[str, Any]) -> bool:
    """Whether the run's model has normalised rows."""
    spec = run["model_spec"]
    return spec["kind"] == "weight_normed" or (spec["kind"] == "weight_norm_mlp" and spec.get("normalised", True))


def is_plain_descent(run: Mapping[str, Any]) -> bool:
    """Whether steps are η times the gradient of the batch: no momentum, decay or scaling of coordinates."""
    spec = run["method_spec"]
    plain = spec["kind"] in ("sgd", "certified_gd")
    return plain and not any(spec.get(name) for name in ("momentum", "weight_decay"))


def keeps_row_norms(run: Mapping[str, Any]) -> bool:
    """Whether steps cannot shorten normalised rows: gradient descent, also with heavy-ball momentum, without decay."""
    spec = run["method_spec"]
    descent = spec["kind"] in ("sgd", "certified_gd")
    return descent and not any(spec.get(name) for name in ("nesterov", "weight_decay"))


def is_full_batch(run: Mapping[str, Any]) -> bool:
    """Whether every step sees all examples."""
    return run["training"].get("batch_size") == "full"


def is_square_on_sphere(run: Mapping[str, Any]) -> bool:
    """Whether the loss is the square loss and all inputs have the length √d, as the smoothness β assumes."""
    return run["training"].get("loss") == "square" and run["dataset_spec"].get("normalise") == "sphere"
