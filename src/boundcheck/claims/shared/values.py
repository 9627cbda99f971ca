"""From the tidy tables to one value for each run: which quantity, when in training, of which runs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CellKey
from boundcheck.verdicts import Reason, Tables, because

Source = Literal["curves", "measurements"]
At = Literal["last", "best"] | int | float  # the last or best recorded value of a run, or that at an epoch
ByCell = dict[CellKey, dict[int, float]]  # by cell, then by seed


class UndecidableError(ValueError):
    """The claim does not say which of several numbers, or cells, it means; `reason` tells what is to be named."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def quantity_rows(
    tables: Tables, source: Source, quantity: str, analysis: str | None = None, coordinate: float | None = None
) -> pd.DataFrame:
    """The tidy rows of one quantity; of one analysis and one coordinate where they are given."""
    rows = getattr(tables, source)
    rows = rows[rows["quantity"] == quantity]
    if analysis is not None:
        rows = rows[rows["analysis"] == analysis]
    if coordinate is not None:
        rows = rows[np.isclose(rows["coordinate"], coordinate, rtol=1e-6, atol=0)]
    return rows


def values_by_cell(rows: pd.DataFrame, runs: pd.DataFrame, at: At, higher_is_better: bool = True) -> ByCell:
    """As `values_of_runs`, by cell and seed."""
    values, by_cell = values_of_runs(rows, runs, at, higher_is_better), ByCell()
    for dataset, model, method, seed, value in values.itertuples(index=False, name=None):
        by_cell.setdefault((dataset, model, method), {})[int(seed)] = float(value)
    return by_cell


def values_of_runs(rows: pd.DataFrame, runs: pd.DataFrame, at: At, higher_is_better: bool = True) -> pd.DataFrame:
    """One `value` per finished run, with the keys of the run.

    Args:
        rows: tidy rows of one quantity, with at most one finite value per run and step.
        runs: the table of runs; those not done are left out.
        at: which value of a run.
        higher_is_better: what "best" means.

    Raises:
        UndecidableError: a run has several values at one step.
    """
    done = runs.loc[runs["status"] == "done", list(RUN)]
    rows = rows[np.isfinite(rows["value"])].merge(done, on=list(RUN))
    require_one_value(rows)
    if not isinstance(at, str):
        rows = rows[np.isclose(rows["epoch"], float(at), rtol=0, atol=1e-9)]
    which = "last" if at != "best" else "max" if higher_is_better else "min"
    return rows.sort_values("step", kind="stable").groupby(list(RUN))["value"].agg(which).reset_index()


def require_one_value(rows: pd.DataFrame) -> None:
    """Raise an UndecidableError where a run has several values of the quantity at one step."""
    if rows.duplicated([*RUN, "step"]).any():
        raise UndecidableError(because("ambiguous_quantity", quantity=str(rows["quantity"].iloc[0])))


def absent_runs(runs: pd.DataFrame) -> list[Reason]:
    """What is not there: a reason for the diverged runs and one for the missing ones, with their seeds by cell."""
    reasons = []
    for status in ("diverged", "missing"):
        absent = runs[runs["status"] == status]
        if len(absent):
            cells = absent.groupby(absent["dataset"] + "/" + absent["model"] + "/" + absent["method"])["seed"]
            seeds = {str(cell): sorted(map(int, of_cell)) for cell, of_cell in cells}
            reasons.append(because("absent_runs", status=status, num=len(absent), seeds=seeds))
    return reasons
