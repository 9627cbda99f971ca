"""Checks that the bounds on predictors' derivatives hold, and that a dearer bound is never the looser one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import KEYS, check_rows, columns_of
from boundcheck.settings import NotNegative, settings
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
    premise fails where a network has no such bound: torch's weight normalisation of other architectures, and for the
    bounds in row norms the un-normalised twin.

    Args:
        of: hessian or gradient.
        tolerance: of arithmetic, relative to the bound.
    """

    of: Literal["hessian", "gradient"] = "hessian"
    tolerance: NotNegative = 1e-8

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, example and bound."""
        measured = f"predictor_{self.of}_norm"
        names = {f"{self.of}_bound_{name}": label for name, label in (BOUNDS | CLOSED[self.of]).items()}
        found = wide_by_index(tables.measurements, [measured, *names]).dropna(subset=[measured])
        frames = [
            self._rows(found, f"{SYMBOLS[self.of]} ≤ {label}", found[name], found[measured])
            for name, label in names.items()
            if found[name].notna().any() or not found[[*names]].notna().any(axis=None)
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*KEYS])

    def _rows(self, keys: pd.DataFrame, theorem: str, bound: pd.Series, measured: pd.Series) -> pd.DataFrame:
        bounds = bound.to_numpy()
        tolerance = self.tolerance * np.nan_to_num(np.abs(bounds), posinf=0.0)
        return check_rows(keys, theorem, "upper", bounds, measured.to_numpy(), tolerance)


@settings
class NestedBounds(PredictorBounds):
    """B2 ≤ B1 ≤ B0t ≤ B0 ≤ B0 (global), on every prediction: a cheaper bound is never the tighter one.

    Args:
        of: hessian or gradient.
        tolerance: of arithmetic, relative to the larger bound.
    """

    tolerance: NotNegative = 1e-10

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, example and pair of neighbours that are both there."""
        names = [f"{self.of}_bound_{name}" for name in BOUNDS]
        found = wide_by_index(tables.measurements, names)
        frames = []
        for below, above in zip(BOUNDS, [*BOUNDS][1:], strict=False):
            columns = [f"{self.of}_bound_{name}" for name in (above, below)]
            part = found.dropna(subset=columns)
            upper, lower = (part[name].to_numpy() for name in columns)
            tolerance = self.tolerance * np.nan_to_num(upper, posinf=0.0)
            frames.append(check_rows(part, f"{BOUNDS[below]} ≤ {BOUNDS[above]}", "upper", upper, lower, tolerance))
        return pd.concat(frames, ignore_index=True)


def wide_by_index(measurements: pd.DataFrame, quantities: list[str]) -> pd.DataFrame:
    """As `rows.wide`, with a row for each index: examples, layers."""
    return columns_of(measurements[measurements["index"] >= 0], [*KEYS, "analysis", "index"], quantities)
