"""What a run has where its training loss first falls to a level, between two evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import RUN, columns_of
from boundcheck.claims.shared.selection import CellKey
from boundcheck.contracts import NAN

TRAIN = "full_train_loss"


def at_common_loss(
    rows: pd.DataFrame, curves: pd.DataFrame, runs: pd.DataFrame, groups: Mapping[CellKey, tuple[str, ...]]
) -> pd.DataFrame:
    """One row per finished run at the least training loss that all cells of its group reach from the same seed.

    It is like the first of the run's `rows`, those of one quantity, with its `value` there and the column `level`, that
    training loss. Cells that `groups` does not name are left out.
    """
    losses = columns_of(curves, [*RUN, "step"], [TRAIN]).merge(runs.loc[runs["status"] == "done", [*RUN]])
    both = rows.merge(losses, on=[*RUN, "step"]).dropna(subset=[TRAIN, "value"]).sort_values("step", kind="stable")
    cells = zip(both["dataset"], both["model"], both["method"], strict=True)
    both = both.assign(group=["/".join(groups.get(cell, ())) for cell in cells])
    values = []
    for _, beside in both[both["group"] != ""].groupby(["group", "seed"]):
        courses = [course for _, course in beside.groupby(["dataset", "model", "method"])]
        level = max(course[TRAIN].min() for course in courses)
        values += [_at_level(course, level) for course in courses]
    frame = pd.DataFrame(values, columns=[*rows.columns, "level"])
    return frame.astype({"value": "float64", "level": "float64"})  # which an empty frame is not


def _at_level(course: pd.DataFrame, level: float) -> dict[str, Any]:
    """The first row of a run's evaluations, with the `value` where its training loss first falls to the level.

    Between the two evaluations around it the value is linear in the training loss. It is NaN where the first loss is
    below the level already.
    """
    train, values = course[TRAIN].to_numpy(), course["value"].to_numpy()
    after = int((train <= level).argmax())
    before, value = max(after - 1, 0), NAN
    if train[after] == level:
        value = values[after]
    elif train[before] > level > train[after]:
        value = np.interp(level, [train[after], train[before]], [values[after], values[before]])
    at = course.iloc[after]
    return dict(course.iloc[0]) | {"step": at["step"], "epoch": at["epoch"], "value": float(value), "level": level}
