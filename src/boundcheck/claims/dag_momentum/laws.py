"""Checks of what the momentum amounts to and of what the steps sum to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.dag_momentum.descent import StepCheck
from boundcheck.claims.dag_momentum.runs import certified_runs
from boundcheck.claims.shared.rows import RUN
from boundcheck.theory.dag_momentum.convergence import effective_step, gradient_sum_bound, update_sum_bound
from boundcheck.theory.dag_momentum.step import effective_momentum_bracket
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EffectiveMomentum(StepCheck):
    """s/(1 + s) ≤ β_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s) from the second step on, β_k the recorded effective momentum.

    The premise is 0 < s < 1 and a step size that is that of the step before.

    Args:
        tolerance: of arithmetic, relative, in units of the run's ε.
    """

    tolerance: float = 5000.0

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run and stretch."""
        import pandas as pd

        steps = self.steps(tables)
        steps = steps[(steps["s"] > 0) & (steps["gradient_norm"] > 0)].reset_index(drop=True)
        before = steps.groupby(list(RUN))[["gradient_norm", "lr"]].shift(1)
        measured = steps["effective_momentum"] * before["gradient_norm"] / steps["gradient_norm"]
        measured = measured.where(steps["effective_momentum"] > 0)
        s = steps["s"].to_numpy(np.float64)
        premise = (s < 1) & (steps["lr"] == before["lr"]).to_numpy()
        bounds = effective_momentum_bracket(np.clip(s, 0, 1 - 1e-9))
        sides = (("β_k ‖g_{k−1}‖/‖g_k‖ ≥ s/(1 + s)", "lower"), ("β_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s)", "upper"))
        parts = []
        for bound, (theorem, sense) in zip(bounds, sides, strict=True):
            tolerance = self.tolerance * steps["epsilon"] * bound
            parts.append(self.judged(steps, theorem, sense, bound, measured, tolerance, premise))
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class SummableSteps(StepCheck):
    """Σ_{k<K} ‖g_k‖² ≤ (E_0 − E_K)/c_S and Σ_{k<K} ‖Δw^{k+1}‖² ≤ (1 + s)² η² (E_0 − E_K)/c_S, for every K.

    The premise is that of `momentum_envelope`: a sampled certificate.
    """

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run and stretch."""
        import pandas as pd

        steps, constant, premise = certified_runs(self.steps(tables))
        first = steps.groupby(list(RUN))["objective"].transform("first")
        gap = (first - steps["next_objective"]).clip(lower=0)
        safe = np.where(constant > 0, constant, np.nan)
        s = np.clip(steps["s"].to_numpy(np.float64), 0, 1)
        sides = (
            ("Σ ‖g_k‖² ≤ (E_0 − E_K)/c_S", "gradient_norm", gradient_sum_bound(gap, safe)),
            ("Σ ‖Δw‖² ≤ (1 + s)²η² (E_0 − E_K)/c_S", "update_norm", update_sum_bound(gap, steps["lr"], s, safe)),
        )
        parts = []
        for theorem, quantity, bound in sides:
            summed = (steps[quantity] ** 2).groupby([steps[key] for key in RUN]).cumsum()
            rounding = 1e6 * steps["epsilon"] * np.nan_to_num(bound)
            parts.append(self.judged(steps, theorem, "upper", bound, summed, rounding, premise))
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class SpeedLimit(StepCheck):
    """Σ_{k<K} ‖Δw^{k+1}‖ ≤ η (1 + s) Σ_{k<K} ‖g_k‖: the path is never longer than one of steps η (1 + s).

    The premise is s < 1 alone. On a smooth path it is nearly attained.
    """

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and stretch."""
        steps = self.steps(tables)
        longest = effective_step(steps["lr"], steps["s"]) * steps["gradient_norm"]
        bound = longest.groupby([steps[key] for key in RUN]).cumsum()
        rounding = 1e6 * steps["epsilon"] * bound
        theorem = "Σ ‖Δw‖ ≤ η (1 + s) Σ ‖g‖"
        return self.judged(steps, theorem, "upper", bound, steps["path_length"], rounding, steps["s"] < 1)
