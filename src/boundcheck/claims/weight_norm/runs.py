"""Which runs of weight-normalised networks a theorem is about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from boundcheck.claims.shared.kinds import method_of, model_of
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import Settings, cells_of
from boundcheck.optional_members import FollowsGradients, NormalisesRows


def of_runs(rows: pd.DataFrame, runs: pd.DataFrame, *holds: Callable[[Settings], bool]) -> np.ndarray:
    """For each row (n,), whether its run is there and every `holds(cell)` is true of its cell's resolved settings."""
    of_cell = {key: all(hold(cell) for hold in holds) for key, cell in cells_of(runs).items()}
    there = set(runs.loc[runs["status"] != "missing", [*RUN]].itertuples(index=False, name=None))
    keys = rows[[*RUN]].itertuples(index=False, name=None)
    return np.array([key in there and of_cell[key[:3]] for key in keys], dtype=bool)


def normalises_rows(cell: Settings) -> bool:
    """Whether the model has normalised rows."""
    model = model_of(cell)
    return isinstance(model, NormalisesRows) and model.normalises_rows


def follows_gradient(cell: Settings) -> bool:
    """Whether each step is −η times the gradient of its batch: no momentum, decay or scaling of coordinates."""
    return _follows(cell) == "gradient"


def follows_past_gradients(cell: Settings) -> bool:
    """Whether no step can shorten normalised rows: gradient descent, also with heavy-ball momentum, without decay."""
    return _follows(cell) in ("gradient", "past gradients")


def is_full_batch(cell: Settings) -> bool:
    """Whether every step sees all examples."""
    return cell["training"]["batch_size"] == "full"


def is_square_on_sphere(cell: Settings) -> bool:
    """Whether the loss is the square loss and all inputs have the length √d, as the smoothness β assumes."""
    return cell["training"]["loss"] == "square" and cell["dataset"]["normalise"] == "sphere"


def _follows(cell: Settings) -> str | None:
    method = method_of(cell)
    return method.follows if isinstance(method, FollowsGradients) else None
