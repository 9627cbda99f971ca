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


def pooled(runs: pd.DataFrame, effect: str) -> Interval:
    """The interval of a column's per-seed means over the cells."""
    by_seed = [dict(zip(part["seed"], part[effect], strict=True)) for _, part in per_cell(runs)]
    return student_interval(list(pool(by_seed).values()))
