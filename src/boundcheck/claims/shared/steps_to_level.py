"""How many steps a run needs until a quantity is at or below a level, or a share of its first value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.shared.rows import RUN

if TYPE_CHECKING:
    import pandas as pd


def steps_to_level(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """One row per run and quantity whose value is the first step at which it is at or below `level`.

    A run that never is gets its last step, which can only make it look faster, and `reached` False.

    Args:
        rows: tidy rows of curves.
        level: in the unit of the quantity.
    """
    ordered = rows[np.isfinite(rows["value"])].sort_values("step", kind="stable")
    keys = [*RUN, "quantity"]
    last = ordered.groupby(keys).tail(1)
    reached = ordered[ordered["value"] <= level].groupby(keys).head(1)
    first_steps = reached.set_index(keys)["step"].reindex(last.set_index(keys).index)
    steps = np.where(first_steps.isna(), last["step"], first_steps).astype(np.float64)
    return last.assign(value=steps, reached=first_steps.notna().to_numpy())


def steps_to_share(rows: pd.DataFrame, share: float) -> pd.DataFrame:
    """As `steps_to_level`, the level of each run being a share of its first value."""
    ordered = rows[np.isfinite(rows["value"])].sort_values("step", kind="stable")
    first = ordered.groupby([*RUN, "quantity"])["value"].transform("first")
    return steps_to_level(ordered.assign(value=ordered["value"] / first), share)
