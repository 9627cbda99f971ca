"""From what was found of every step to what decides a claim: a row per run, the rows of a cell, the pooled effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL
from boundcheck.claims.shared.statistics import Interval, pool, student_interval


def per_run(steps: pd.DataFrame, describe: Callable[[pd.DataFrame], Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each run: its keys, and what `describe` says of its steps."""
    runs = steps.groupby(list(RUN))
    return pd.DataFrame([{**dict(zip(RUN, run, strict=True)), **describe(part)} for run, part in runs])


def per_cell(runs: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The names of every cell, and the rows of its runs."""
    for cell, part in runs.groupby(list(CELL)):
        yield dict(zip(CELL, cell, strict=True)), part


def by_seed(runs: pd.DataFrame, effect: str) -> dict[int, float]:
    """A column of the runs of one cell, by seed."""
    return dict(zip(runs["seed"], runs[effect], strict=True))


def pooled(runs: pd.DataFrame, effect: str) -> Interval:
    """The interval of a column's per-seed means over the cells."""
    return student_interval(list(pool([by_seed(part, effect) for _, part in per_cell(runs)]).values()))


def effect_of(interval: Interval, unit: str) -> dict[str, Any]:
    """The fields of a verdict that tell its effect."""
    mean, low, high, _, num = interval
    return {"effect": mean, "low": low, "high": high, "unit": unit, "num_runs": num}
