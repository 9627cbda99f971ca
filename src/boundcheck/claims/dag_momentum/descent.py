"""Checks of what each step of adaptive momentum does: its length and angle, the descent, the prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.dag_momentum.step_check import Inequality, StepCheck, with_curvature
from boundcheck.claims.dag_momentum.steps import RULES, clipped_s, energy_tolerance
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.dag_momentum.step import (
    cosine_bound,
    decrease,
    descent_slope_bound,
    paper_decrease,
    paper_step_limit,
    predicted_decrease,
    step_limit,
    update_bracket,
)

if TYPE_CHECKING:
    import pandas as pd


@settings(kw_only=True)
class MomentumBracket(StepCheck):
    """(1 − s) ≤ ‖Δw‖/(η‖g‖) ≤ (1 + s), −⟨g, Δw⟩ ≥ (1 − s)η‖g‖² and cos∠(Δw, −g) ≥ √(1 − s²) at every step.

    The premise is s < 1 alone.

    Args:
        tolerance: of arithmetic, on ratios of order 1, in units of the run's ε; 5000 are 10⁻¹² in float64.
    """

    tolerance: NotNegative = 5000.0

    def wanted(self, steps: pd.DataFrame) -> pd.DataFrame:
        """Steps with a gradient, for the ratios are to its norm."""
        return steps[steps["gradient_norm"] > 0]

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The bracket of the length, the slope and the angle."""
        s, premise, tolerance = clipped_s(steps), steps["s"] < 1, self.tolerance * steps["epsilon"]
        lower, upper = update_bracket(1.0, 1.0, s)
        ratio = (steps["update_norm"] / (steps["lr"] * steps["gradient_norm"])).to_numpy(np.float64)
        slope, cosine = steps["descent_cosine"] * ratio, steps["descent_cosine"]
        lowest_slope = descent_slope_bound(1.0, 1.0, s)
        yield Inequality("‖Δw‖/(η‖g‖) ≤ 1 + s", "upper", upper, ratio, tolerance, premise)
        yield Inequality("‖Δw‖/(η‖g‖) ≥ 1 − s", "lower", lower, ratio, tolerance, premise)
        yield Inequality("−⟨g, Δw⟩/(η‖g‖²) ≥ 1 − s", "lower", lowest_slope, slope, tolerance, premise)
        yield Inequality("cos∠(Δw, −g) ≥ √(1 − s²)", "lower", cosine_bound(s), cosine, tolerance, premise)


@settings(kw_only=True)
class MomentumDescent(StepCheck):
    """E_k − E_{k+1} ≥ c ‖g_k‖² with the sharp c_S and with the paper's c_P, at every step.

    L is that of the run (see `momentum_steps`), and the premise that the step size is below the limit for it and that
    no measured curvature exceeds it: a sampled certificate, for between the measured steps it is not known.
    """

    wanted = staticmethod(with_curvature)

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The sharp form and the paper's."""
        eta, L = (steps[name].to_numpy(np.float64) for name in ("lr", "curvature"))
        s, squared = clipped_s(steps), steps["gradient_norm"].to_numpy() ** 2
        forms = (
            ("E_k − E_{k+1} ≥ c_S ‖g‖² (sharp)", decrease, step_limit),
            ("E_k − E_{k+1} ≥ c_P ‖g‖² (paper's form)", paper_decrease, paper_step_limit),
        )
        for theorem, constant, limit in forms:
            premise = steps["certified"].to_numpy(bool) & (eta < limit(L, s)) & (steps["s"] < 1).to_numpy()
            bound = constant(eta, L, s) * squared
            yield Inequality(theorem, "lower", bound, steps["decrease"], energy_tolerance(steps), premise)


@settings(kw_only=True)
class MomentumMonotone(StepCheck):
    """E_{k+1} ≤ E_k at every step, where η < 2/((1 + s)L); beyond the limit a rise is reported and no violation.

    L is that of the run, as of `momentum_descent`: a sampled certificate. Of a constant momentum nothing is promised.
    """

    rules = RULES

    wanted = staticmethod(with_curvature)

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The loss before and after a step."""
        s = np.nan_to_num(clipped_s(steps), nan=1.0)
        limit = step_limit(steps["curvature"].to_numpy(np.float64), s)
        premise = steps["certified"].to_numpy(bool) & (steps["lr"].to_numpy() < limit) & (steps["s"] < 1).to_numpy()
        sides = steps["objective"], steps["next_objective"]
        yield Inequality("E_{k+1} ≤ E_k", "upper", *sides, energy_tolerance(steps), premise)


@settings(kw_only=True)
class StepPrediction(StepCheck):
    """E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖² at every step whose curvature L_k was measured.

    L_k is the largest of three places on the step, times 1 + `margin`; the premise η L_k ≤ 2 keeps to steps so short
    that the curvature between the places is not another one, and to changes of E that are more than rounding.

    Args:
        margin: on L_k, for what lies between the places.
    """

    margin: NotNegative = 0.05

    rules = RULES

    def wanted(self, steps: pd.DataFrame) -> pd.DataFrame:
        """Steps whose own curvature was measured."""
        return steps[steps["local_curvature"].notna() & steps["decrease"].notna()]

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The decrease and its prediction."""
        curvature = (1 + self.margin) * steps["local_curvature"].to_numpy(np.float64)
        bound = predicted_decrease(steps["slope"], steps["update_norm"], curvature)
        tolerance = energy_tolerance(steps)
        is_resolved = np.maximum(np.abs(bound), steps["decrease"].abs()) > tolerance
        premise = (steps["lr"].to_numpy() * curvature <= 2) & is_resolved
        theorem = "E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖²"
        yield Inequality(theorem, "lower", bound, steps["decrease"], tolerance, premise)
