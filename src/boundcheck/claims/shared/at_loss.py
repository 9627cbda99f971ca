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


def at_level(course: pd.DataFrame, level: float, name: str) -> dict[str, Any]:
    """The keys of a run and its `value` where its training loss first falls to the level.

    Between the two evaluations around it the quantity is linear in the training loss. The value is NaN where the first
    loss is below the level already, or none falls to it.

    Args:
        course: evaluations of one run, first to last, with its keys, `step`, `epoch`, the training loss and the
            quantity.
        level: the training loss.
        name: the quantity.
    """
    train, values = course[TRAIN].to_numpy(), course[name].to_numpy()
    after = int((train <= level).argmax())
    before, value = max(after - 1, 0), NAN
    if train[after] == level:
        value = values[after]
    elif train[before] > level > train[after]:
        value = np.interp(level, [train[after], train[before]], [values[after], values[before]])
    at = course.iloc[after]
    return {key: at[key] for key in (*RUN, "step", "epoch")} | {"value": float(value)}


def at_common_loss(
    rows: pd.DataFrame, curves: pd.DataFrame, runs: pd.DataFrame, groups: Mapping[CellKey, tuple[str, ...]]
) -> pd.DataFrame:
    """One row per finished run at the least training loss that all cells of its group reach from the same seed.

    Args:
        rows: tidy rows of one quantity.
        curves: those that have the training loss.
        runs: the table of runs; those not done are left out.
        groups: the group of each cell; other cells are left out.

    Returns: rows like the first of each run, with its `value` there and the column `level`, that training loss.
    """
    losses = columns_of(curves, [*RUN, "step"], [TRAIN]).merge(runs.loc[runs["status"] == "done", [*RUN]])
    both = rows.merge(losses, on=[*RUN, "step"]).dropna(subset=[TRAIN, "value"]).sort_values("step", kind="stable")
    cells = zip(both["dataset"], both["model"], both["method"], strict=True)
    both = both.assign(group=["/".join(groups.get(cell, ())) for cell in cells])
    values = []
    for _, beside in both[both["group"] != ""].groupby(["group", "seed"]):
        courses = [course for _, course in beside.groupby(["dataset", "model", "method"])]
        level = max(course[TRAIN].min() for course in courses)
        values += [dict(course.iloc[0]) | at_level(course, level, "value") | {"level": level} for course in courses]
    frame = pd.DataFrame(values, columns=[*rows.columns, "level"])
    return frame.astype({"value": "float64", "level": "float64"})  # which an empty frame is not
