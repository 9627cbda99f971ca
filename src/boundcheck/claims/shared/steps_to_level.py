"""How many steps a run needs until a quantity is at or below a level, or a share of its first value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.shared.rows import RUN

if TYPE_CHECKING:
    import pandas as pd


def steps_to_level(rows: pd.DataFrame, levels: Mapping[str, float], of_first: bool = False) -> pd.DataFrame:
    """One row per run whose value is the first step at which the quantity is at or below the level.

    A run that never is gets its last step, which can only make it look faster, and `reached` False.

    Args:
        rows: tidy rows of one quantity of the curves.
        levels: by dataset, in the unit of the quantity; other datasets are left out.
        of_first: the levels are shares of the first value of each run.
    """
    keys = list(RUN)
    ordered = rows[np.isfinite(rows["value"]) & rows["dataset"].isin(list(levels))].sort_values("step", kind="stable")
    values = ordered["value"] / (ordered.groupby(keys)["value"].transform("first") if of_first else 1)
    reached = ordered[values <= ordered["dataset"].map(levels).astype(float)].groupby(keys).head(1)
    last = ordered.groupby(keys).tail(1)
    first_steps = reached.set_index(keys)["step"].reindex(last.set_index(keys).index)
    steps = np.where(first_steps.isna(), last["step"], first_steps).astype(np.float64)
    return last.assign(value=steps, reached=first_steps.notna().to_numpy())
