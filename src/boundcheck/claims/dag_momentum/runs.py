"""Checks of what a whole run of a momentum method does: envelopes, rates, Lyapunov functions, and explicit bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.dag_momentum.step_check import (
    Inequality,
    StepCheck,
    certified_runs,
    positive_constant,
    with_curvature,
)
from boundcheck.claims.dag_momentum.steps import RULES, energy_tolerance, first_objective, summed
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, wide
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.settings import settings
from boundcheck.theory.dag_momentum.baselines import heavy_ball_step_limit, lyapunov_decrease, lyapunov_function
from boundcheck.theory.dag_momentum.convergence import least_gradient_bound, weight_bound
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd


@settings(kw_only=True)
class MomentumEnvelope(StepCheck):
    """E_K ≤ E_0 − c_S Σ_{k<K} ‖g_k‖²: the certified envelope of a run, which is the bound on the sum of gradients.

    The premise is that of `momentum_descent`, for the whole run: a sampled certificate.
    """

    wanted = staticmethod(certified_runs)

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The loss below its envelope."""
        squared, first = steps["gradient_norm"] ** 2, first_objective(steps)
        bound = first - steps["constant"] * (summed(steps, squared) - squared)
        tolerance = energy_tolerance(steps.assign(objective=first)) * np.maximum(1, steps["step"].to_numpy() ** 0.5)
        yield Inequality("E_K ≤ E_0 − c_S Σ ‖g_k‖²", "upper", bound, steps["objective"], tolerance, steps["premise"])


@settings(kw_only=True)
class GradientRate(StepCheck):
    """min_{k<K} ‖g_k‖² ≤ (E_0 − E_K)/(c_S K), for every K; premise as of `momentum_envelope`."""

    wanted = staticmethod(certified_runs)

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The least gradient so far."""
        least = (steps["gradient_norm"] ** 2).groupby([steps[key] for key in RUN]).cummin()
        gap = (first_objective(steps) - steps["next_objective"]).clip(lower=0)
        bound = least_gradient_bound(gap, positive_constant(steps), steps["step"].to_numpy() + 1.0)
        rounding = 1e6 * steps["epsilon"] * np.nan_to_num(bound)
        yield Inequality("min ‖g_k‖² ≤ (E_0 − E_K)/(c_S K)", "upper", bound, least, rounding, steps["premise"])


@settings(kw_only=True)
class HeavyBallLyapunov(StepCheck):
    """V_{k+1} ≤ V_k − ((1 − β)/η − L/2) ‖Δw^{k+1}‖² for V = E + (β/(2η)) ‖Δw‖², along heavy ball.

    L is that of the run, as of `momentum_descent`: a sampled certificate. The premise is η < 2(1 − β)/L.
    """

    rules = ("heavy_ball",)

    wanted = staticmethod(with_curvature)

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The drop of V."""
        eta, beta, L = (steps[name].to_numpy(np.float64) for name in ("lr", "momentum", "curvature"))
        bound = lyapunov_decrease(eta, L, beta) * steps["update_norm"].to_numpy() ** 2
        premise = steps["certified"].to_numpy(bool) & (eta < heavy_ball_step_limit(L, beta))
        tolerance = 4 * energy_tolerance(steps)
        yield Inequality("V_k − V_{k+1} ≥ c_V ‖Δw‖²", "lower", bound, lyapunov_drops(steps), tolerance, premise)


@settings(kw_only=True)
class WeightBound(StepCheck):
    """‖w^k‖ ≤ √(2 E_λ(w^0)/λ) at every step of a run with weight decay λ; the premise: E_λ never above its start."""

    rules = RULES

    def wanted(self, steps: pd.DataFrame) -> pd.DataFrame:
        """Steps of runs with weight decay."""
        return steps[(steps["weight_decay"] > 0) & steps["parameter_norm"].notna()]

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """The norm of the weights."""
        first, highest = first_objective(steps), steps.groupby(list(RUN))["objective"].transform("max")
        bound = weight_bound(first, steps["weight_decay"])
        premise, rounding = highest <= first + energy_tolerance(steps), 1e4 * steps["epsilon"] * bound
        yield Inequality("‖w^k‖ ≤ √(2E_λ(w⁰)/λ)", "upper", bound, steps["parameter_norm"], rounding, premise)


@settings(kw_only=True)
class PathSumBound(SelectsCells):
    """‖∇²E‖ ≤ the explicit path-sum bound, at every snapshot where both were measured on the same examples."""

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run and snapshot: the bound from the norms at θ, and the one for its sublevel set."""
        import pandas as pd

        tables = self.only(tables)
        names = ["hessian_path_bound", "sublevel_hessian_bound", "spectral_norm"]
        rows = tables.measurements[tables.measurements["quantity"].isin(names)]
        # the bounds and the spectrum come from two analyses; the claim's config has them on the same examples
        found = wide(rows.assign(analysis="both"), names, by_coordinate=False).dropna(subset=names)
        keys, norm = found[list(KEYS)], found["spectral_norm"].to_numpy()
        tolerance = found["spectral_norm_error"].fillna(0.0).to_numpy() + 1e-9 * norm
        parts = [
            check_rows(keys, theorem, "upper", found[name], norm, tolerance)
            for name, theorem in (
                ("hessian_path_bound", "‖∇²E‖ ≤ path sums at w"),
                ("sublevel_hessian_bound", "‖∇²E‖ ≤ path sums on {E ≤ E(w)}"),
            )
        ]
        return pd.concat(parts, ignore_index=True)


def lyapunov_drops(steps: pd.DataFrame) -> np.ndarray:
    """V_k − V_{k+1} of every step of heavy ball; NaN where the next loss is not known."""
    eta, beta = (steps[name].to_numpy(np.float64) for name in ("lr", "momentum"))
    before = lyapunov_function(steps["objective"], steps["previous_update"], eta, beta)
    return before - lyapunov_function(steps["next_objective"], steps["update_norm"], eta, beta)
