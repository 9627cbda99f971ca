"""Check frames from arrays: every row a bound, what was measured, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from boundcheck.contracts import NAN
from boundcheck.verdicts import Sense

KEYS = ("dataset", "model", "method", "seed", "step", "epoch")
RUN = ("dataset", "model", "method", "seed")


def check_rows(
    keys: pd.DataFrame,
    theorem: str,
    sense: Sense,
    bound: ArrayLike,
    measured: ArrayLike,
    tolerance: ArrayLike = 0.0,
    premise_holds: ArrayLike = True,
    coordinate: ArrayLike = NAN,
) -> pd.DataFrame:
    """One check row per key row; `holds` is null where the premise fails or a side of the comparison is NaN.

    Args:
        keys: n rows with the columns dataset, model, method, seed, step, epoch.
        theorem: the inequality in words or unicode, equal for rows that are judged together.
        sense: "upper" (measured ≤ bound), "lower" (measured ≥ bound) or "equal".
        bound: (n,) or a number; NaN where the theorem gives none.
        measured: (n,) or a number, in the unit of the bound.
        tolerance: (n,) or a number ≥ 0: the error that measuring and arithmetic may have, in the same unit.
        premise_holds: (n,) or a bool: whether the theorem's assumptions hold there.
        coordinate: (n,) or a number: what the bound depends on besides the step, such as a radius.

    Returns:
        The columns of `tables.CHECKS` but `check`, which the check stage adds.

    Raises:
        ValueError: a tolerance is negative or NaN.
    """
    frame = keys.loc[:, list(KEYS)].reset_index(drop=True)
    n = len(frame)
    bound, measured, tolerance, coordinate = (_column(v, n) for v in (bound, measured, tolerance, coordinate))
    if not (tolerance >= 0).all():
        raise ValueError(f"tolerance: got {tolerance[~(tolerance >= 0)][0]}; allowed: >= 0")
    premise = np.broadcast_to(np.asarray(premise_holds, dtype=bool), n) & ~np.isnan(bound) & ~np.isnan(measured)
    return frame.assign(
        coordinate=coordinate,
        theorem=theorem,
        sense=sense,
        bound=bound,
        measured=measured,
        tolerance=tolerance,
        premise_holds=premise,
        holds=pd.array(_holds(sense, bound, measured, tolerance), dtype="boolean").copy(),
        tightness=tightness(sense, bound, measured),
    ).assign(holds=lambda rows: rows["holds"].mask(~rows["premise_holds"]))


def tightness(sense: Sense, bound: ArrayLike, measured: ArrayLike) -> np.ndarray:
    """How loose a bound on a positive quantity is: bound/measured (upper), measured/bound (lower); 1 is attained.

    Below 1 the bound is violated. A bound that leaves a positive quantity free (a lower bound ≤ 0, an upper bound
    on what measured 0) is infinitely loose; a ratio of negative numbers says nothing and is NaN. For "equal" it is
    the larger of the two ratios.
    """
    bound, measured = np.broadcast_arrays(np.asarray(bound, np.float64), np.asarray(measured, np.float64))
    large, small = (measured, bound) if sense == "lower" else (bound, measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((large > 0) & (small > 0), large / small, NAN)
        if sense == "equal":
            ratio = np.maximum(ratio, 1 / ratio)
    if sense != "equal":
        ratio = np.where((large > 0) & (small <= 0), np.inf, ratio)
        ratio = np.where((large <= 0) & (small > 0), 0.0, ratio)
    return np.where(large == small, 1.0, ratio)


def wide(measurements: pd.DataFrame, quantities: Sequence[str], by_coordinate: bool) -> pd.DataFrame:
    """Measurements as one column per quantity, a row per (run, snapshot, analysis[, coordinate]).

    Only one analysis' numbers meet in a row, for only they were taken on the same examples. A column `<name>_error`
    goes with each quantity. Quantities that were never measured give columns of NaN. The coordinate is a key where
    the quantities depend on one.
    """
    keys = [*KEYS, "analysis", *(["coordinate"] if by_coordinate else [])]
    rows = measurements[measurements["quantity"].isin(quantities)]
    # A snapshot is measured once, so "first" only decides between rows that are equal.
    table: Any = rows.groupby([*keys, "quantity"], dropna=False)[["value", "error"]].first().unstack("quantity")
    table.columns = [name if kind == "value" else f"{name}_error" for kind, name in table.columns]
    columns = [c for q in quantities for c in (q, f"{q}_error")]
    return table.reindex(columns=columns).astype(np.float64).reset_index()


def ends(values: pd.Series) -> list[float]:
    """The least and the largest of some values, for a reason."""
    return [float(values.min()), float(values.max())]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as the evidence of a verdict."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def columns_of(rows: pd.DataFrame, keys: Sequence[str], quantities: Sequence[str]) -> pd.DataFrame:
    """Tidy rows with a column for each quantity, NaN where one is not there, and a row for each value of the keys."""
    rows = rows[rows["quantity"].isin(quantities)]
    table = rows.groupby([*keys, "quantity"])["value"].first().unstack("quantity")
    return table.reindex(columns=[*quantities]).astype(np.float64).reset_index()


def _column(values: ArrayLike, n: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(values, dtype=np.float64), n).copy()


def _holds(sense: Sense, bound: np.ndarray, measured: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        if sense == "upper":
            return measured <= bound + tolerance
        if sense == "lower":
            return measured >= bound - tolerance
        return np.abs(measured - bound) <= tolerance
