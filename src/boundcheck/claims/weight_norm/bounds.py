"""Checks that the bounds on predictors' derivatives hold, and that a dearer bound is never the looser one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import KEYS, check_rows, columns_of
from boundcheck.settings import settings
from boundcheck.verdicts import Tables

BOUNDS = {  # from the tightest; each is at least the one before it
    "blocks": "B2",
    "layers": "B1",
    "parameters": "B0t",
    "a_priori": "B0",
    "a_priori_global": "B0 (global)",
}
CLOSED = {"hessian": {"squared": "L² form", "cubic": "L³ form"}, "gradient": {"squared": "closed form"}}
SYMBOLS = {"hessian": "‖∇²f‖", "gradient": "‖∇f‖"}


@settings
class PredictorBounds:
    """‖∇²f‖ (or ‖∇f‖) of every measured prediction is below each of its bounds, B2 ≤ B1 ≤ B0t ≤ B0 and closed forms.

    The Hessian's norm is found by Lanczos from below, so a row outside is a fault of the theorem or of its code. The
    tolerance of a row is the error that it states: what rounding in float64 may add to the norm and to the bound
    (`theory.weight_norm.rounding`), which in saturated networks is more than a fixed share of them. The
    premise fails where a network has no such bound: torch's weight normalisation of other architectures, and for the
    bounds in row norms the un-normalised twin.

    Args:
        of: hessian or gradient.
    """

    of: Literal["hessian", "gradient"] = "hessian"

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, example and bound."""
        measured = f"predictor_{self.of}_norm"
        names = {f"{self.of}_bound_{name}": label for name, label in (BOUNDS | CLOSED[self.of]).items()}
        points = _by_index(tables, [measured, *names]).dropna(subset=[measured])
        has_none = points[[*names]].isna().all(axis=None)
        theorems = {name: f"{SYMBOLS[self.of]} ≤ {label}" for name, label in names.items()}
        kept = [name for name in names if has_none or points[name].notna().any()]
        return self._rows([(points, theorems[name], name, measured) for name in kept])

    def _rows(self, inequalities: Sequence[tuple[pd.DataFrame, str, str, str]]) -> pd.DataFrame:
        """Of each inequality the rows, its words, and the columns of the bound and of what is below it."""
        frames = []
        for points, theorem, bound, measured in inequalities:
            tolerance = np.nan_to_num(points[f"{bound}_error"], posinf=0.0)
            frames.append(check_rows(points, theorem, "upper", points[bound], points[measured], tolerance))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*KEYS])


@settings
class NestedBounds(PredictorBounds):
    """B2 ≤ B1 ≤ B0t ≤ B0 ≤ B0 (global), on every prediction: a cheaper bound is never the tighter one.

    Args:
        of: hessian or gradient.
    """

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, example and pair of neighbours that are both there."""
        names = [f"{self.of}_bound_{name}" for name in BOUNDS]
        points = _by_index(tables, names)
        theorems = [f"{below} ≤ {above}" for below, above in pairwise(BOUNDS.values())]
        pairs = zip(theorems, pairwise(names), strict=True)
        return self._rows([(points.dropna(subset=[*pair]), theorem, pair[1], pair[0]) for theorem, pair in pairs])


def _by_index(tables: Tables, quantities: list[str]) -> pd.DataFrame:
    """As `rows.wide`, with a row for each index: examples, layers. A column `<name>_error` goes with each quantity."""
    rows, keys = tables.measurements, [*KEYS, "analysis", "index"]
    rows = rows[rows["index"] >= 0]
    errors = columns_of(rows.assign(value=rows["error"]), keys, quantities)
    errors = errors.rename(columns={name: f"{name}_error" for name in quantities})
    return columns_of(rows, keys, quantities).merge(errors, on=keys)
