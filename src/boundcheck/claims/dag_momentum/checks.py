"""The checks of momentum methods: theorems on their steps, and the bound on the Hessian by sums over paths."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from boundcheck.claims.dag_momentum import kl, theorems
from boundcheck.claims.dag_momentum.steps import RULES, momentum_steps, worst_of_stretches
from boundcheck.claims.dag_momentum.theorems import Inequality
from boundcheck.claims.shared.rows import check_rows, wide
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.settings import Count, settings
from boundcheck.verdicts import Tables

LAWS = {"monotone": RULES, "prediction": RULES, "weight_bound": RULES, "lyapunov": ("heavy_ball",)}
PATH_BOUNDS = {
    "hessian_path_bound": "‖∇²E‖ ≤ path sums at w",
    "sublevel_hessian_bound": "‖∇²E‖ ≤ path sums on {E ≤ E(w)}",
}


@settings(kw_only=True)
class MomentumTheorem(SelectsCells):
    """A theorem on the steps of momentum methods, at every recorded step; a row is the worst step of a stretch.

    Args:
        theorem: which one; the function of that name in claims/dag_momentum/theorems.py, or kl.py, states it.
        stretches: of a run, a row each.
    """

    theorem: Literal[
        "a_priori_curvature",
        "bracket",
        "descent",
        "effective_momentum",
        "envelope",
        "finite_length",
        "gradient_rate",
        "linear_rate",
        "lyapunov",
        "monotone",
        "prediction",
        "speed_limit",
        "summable",
        "weight_bound",
    ]
    stretches: Count = 40

    def rows(self, tables: Tables) -> pd.DataFrame:
        """A row for each inequality, run and stretch."""
        steps = momentum_steps(self.only_runs(tables), LAWS.get(self.theorem, ("adaptive",)))
        stated = getattr(theorems, self.theorem, None) or getattr(kl, self.theorem)
        return pd.concat([self._worst(inequality) for inequality in stated(steps)], ignore_index=True)

    def _worst(self, stated: Inequality) -> pd.DataFrame:
        columns = ("bound", "measured", "tolerance", "premise")
        steps = stated.steps.assign(**{f"_{name}": np.asarray(getattr(stated, name)) for name in columns})
        slack = (steps["_bound"] - steps["_measured"]) * (1 if stated.sense == "upper" else -1)
        worst = worst_of_stretches(steps, slack, self.stretches)
        return check_rows(worst, stated.theorem, stated.sense, *(worst[f"_{name}"] for name in columns))


@settings(kw_only=True)
class PathSumBound(SelectsCells):
    """‖∇²E‖ ≤ the explicit path-sum bound, at every snapshot where both were measured on the same examples."""

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run and snapshot: the bound from the norms at θ, and the one for its sublevel set."""
        tables = self.only(tables)
        names = [*PATH_BOUNDS, "spectral_norm"]
        # the bounds and the spectrum come from two analyses; the claim's config has them on the same examples
        both = wide(tables.measurements.assign(analysis="both"), names, by_coordinate=False).dropna(subset=names)
        norm = both["spectral_norm"]
        tolerance = both["spectral_norm_error"].fillna(0.0) + 1e-9 * norm
        parts = [
            check_rows(both, theorem, "upper", both[name], norm, tolerance) for name, theorem in PATH_BOUNDS.items()
        ]
        return pd.concat(parts, ignore_index=True)
