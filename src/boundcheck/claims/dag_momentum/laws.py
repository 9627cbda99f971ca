"""Checks of what the momentum amounts to and of what the steps sum to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.dag_momentum.step_check import Inequality, StepCheck, certified_runs, positive_constant
from boundcheck.claims.dag_momentum.steps import clipped_s, first_objective, summed
from boundcheck.claims.shared.rows import RUN
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.dag_momentum.convergence import effective_step, gradient_sum_bound, update_sum_bound
from boundcheck.theory.dag_momentum.step import effective_momentum_bracket

if TYPE_CHECKING:
    import pandas as pd


@settings(kw_only=True)
class EffectiveMomentum(StepCheck):
    """s/(1 + s) ≤ β_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s) from the second step on, β_k the recorded effective momentum.

    The premise is 0 < s < 1 and a step size that is that of the step before.

    Args:
        tolerance: of arithmetic, relative, in units of the run's ε.
    """

    tolerance: NotNegative = 5000.0

    def wanted(self, steps: pd.DataFrame) -> pd.DataFrame:
        """Steps with momentum and a gradient."""
        return steps[(steps["s"] > 0) & (steps["gradient_norm"] > 0)]

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """Both sides of the bracket."""
        before = steps.groupby(list(RUN))[["gradient_norm", "lr"]].shift(1)
        measured = steps["effective_momentum"] * before["gradient_norm"] / steps["gradient_norm"]
        measured = measured.where(steps["effective_momentum"] > 0)
        premise = (steps["s"] < 1) & (steps["lr"] == before["lr"])
        lowest, highest = effective_momentum_bracket(np.clip(steps["s"].to_numpy(np.float64), 0, 1 - 1e-9))
        rounding = self.tolerance * steps["epsilon"]
        yield Inequality("β_k ‖g_{k−1}‖/‖g_k‖ ≥ s/(1 + s)", "lower", lowest, measured, rounding * lowest, premise)
        yield Inequality("β_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s)", "upper", highest, measured, rounding * highest, premise)


@settings(kw_only=True)
class SummableSteps(StepCheck):
    """Σ_{k<K} ‖g_k‖² ≤ (E_0 − E_K)/c_S and Σ_{k<K} ‖Δw^{k+1}‖² ≤ (1 + s)² η² (E_0 − E_K)/c_S, for every K.

    The premise is that of `momentum_envelope`: a sampled certificate.
    """

    wanted = staticmethod(certified_runs)

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The sums of the gradients and of the steps."""
        gap, c = (first_objective(steps) - steps["next_objective"]).clip(lower=0), positive_constant(steps)
        sides = (
            ("Σ ‖g_k‖² ≤ (E_0 − E_K)/c_S", "gradient_norm", gradient_sum_bound(gap, c)),
            (
                "Σ ‖Δw‖² ≤ (1 + s)²η² (E_0 − E_K)/c_S",
                "update_norm",
                update_sum_bound(gap, steps["lr"], clipped_s(steps), c),
            ),
        )
        for theorem, quantity, bound in sides:
            rounding = 1e6 * steps["epsilon"] * np.nan_to_num(bound)
            yield Inequality(theorem, "upper", bound, summed(steps, steps[quantity] ** 2), rounding, steps["premise"])


@settings(kw_only=True)
class SpeedLimit(StepCheck):
    """Σ_{k<K} ‖Δw^{k+1}‖ ≤ η (1 + s) Σ_{k<K} ‖g_k‖: the path is never longer than one of steps η (1 + s).

    The premise is s < 1 alone. On a smooth path it is nearly attained.
    """

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The path so far."""
        bound = summed(steps, effective_step(steps["lr"], steps["s"]) * steps["gradient_norm"])
        theorem, rounding = "Σ ‖Δw‖ ≤ η (1 + s) Σ ‖g‖", 1e6 * steps["epsilon"] * bound
        yield Inequality(theorem, "upper", bound, steps["path_length"], rounding, steps["s"] < 1)
