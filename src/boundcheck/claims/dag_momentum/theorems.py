"""What theory states of the steps of momentum methods: each function gives the inequalities of one theorem."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from boundcheck.claims.dag_momentum.steps import clipped_s, energy_tolerance, first_objective, summed
from boundcheck.claims.shared.rows import RUN
from boundcheck.theory.dag_momentum import baselines, convergence, step
from boundcheck.verdicts import Sense

RATIO_TOLERANCE = 5000  # of ratios of order 1, in units of the run's ε; 10⁻¹² in float64
SUM_TOLERANCE = 1e6  # of long sums, relative, in units of the run's ε
CURVATURE_MARGIN = 0.05  # on the largest curvature of three places on a step, for what lies between them


class Inequality(NamedTuple):
    """A theorem at n steps. Its sides, tolerance (in their unit) and premise are numbers or arrays (n,)."""

    theorem: str
    sense: Sense
    steps: pd.DataFrame
    bound: Any
    measured: Any
    tolerance: Any
    premise: Any


def bracket(steps: pd.DataFrame) -> Iterable[Inequality]:
    """(1 − s) ≤ ‖Δw‖/(η‖g‖) ≤ (1 + s), −⟨g, Δw⟩ ≥ (1 − s)η‖g‖² and cos∠(Δw, −g) ≥ √(1 − s²).

    The premise is s < 1 alone.
    """
    steps = steps[steps["gradient_norm"] > 0]
    s, cosine = clipped_s(steps), steps["descent_cosine"]
    lower, upper = step.update_bracket(1.0, 1.0, s)
    ratio = steps["update_norm"] / (steps["lr"] * steps["gradient_norm"])
    stated: list[tuple[str, Sense, Any, Any]] = [
        ("‖Δw‖/(η‖g‖) ≤ 1 + s", "upper", upper, ratio),
        ("‖Δw‖/(η‖g‖) ≥ 1 − s", "lower", lower, ratio),
        ("−⟨g, Δw⟩/(η‖g‖²) ≥ 1 − s", "lower", step.descent_slope_bound(1.0, 1.0, s), cosine * ratio),
        ("cos∠(Δw, −g) ≥ √(1 − s²)", "lower", step.cosine_bound(s), cosine),
    ]
    tolerance, premise = RATIO_TOLERANCE * steps["epsilon"], steps["s"] < 1
    for theorem, sense, bound, measured in stated:
        yield Inequality(theorem, sense, steps, bound, measured, tolerance, premise)


def effective_momentum(steps: pd.DataFrame) -> Iterable[Inequality]:
    """s/(1 + s) ≤ β_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s) from the second step on, β_k the recorded effective momentum.

    The premise is 0 < s < 1 and a step size that is that of the step before.
    """
    steps = steps[(steps["s"] > 0) & (steps["gradient_norm"] > 0)]
    before = steps.groupby(list(RUN))[["gradient_norm", "lr"]].shift(1)
    measured = steps["effective_momentum"] * before["gradient_norm"] / steps["gradient_norm"]
    measured = measured.where(steps["effective_momentum"] > 0)
    premise, tolerance = (steps["s"] < 1) & (steps["lr"] == before["lr"]), RATIO_TOLERANCE * steps["epsilon"]
    lowest, highest = step.effective_momentum_bracket(np.clip(steps["s"], 0, 1 - 1e-9))
    theorem = "β_k ‖g_{k−1}‖/‖g_k‖"
    yield Inequality(f"{theorem} ≥ s/(1 + s)", "lower", steps, lowest, measured, tolerance * lowest, premise)
    yield Inequality(f"{theorem} ≤ s/(1 − s)", "upper", steps, highest, measured, tolerance * highest, premise)


def descent(steps: pd.DataFrame) -> Iterable[Inequality]:
    """E_k − E_{k+1} ≥ c ‖g_k‖² with the sharp c_S and with the paper's c_P.

    L is that of the run (see `momentum_steps`), and the premise that the step size is below the limit for it and that
    no measured curvature exceeds it: a sampled certificate, for between the measured steps it is not known.
    """
    steps = _with_curvature(steps)
    eta, L, s = steps["lr"], steps["curvature"], clipped_s(steps)
    for theorem, constant, limit in (
        ("E_k − E_{k+1} ≥ c_S ‖g‖² (sharp)", step.decrease, step.step_limit),
        ("E_k − E_{k+1} ≥ c_P ‖g‖² (paper's form)", step.paper_decrease, step.paper_step_limit),
    ):
        premise = steps["certified"] & (eta < limit(L, s)) & (steps["s"] < 1)
        bound = constant(eta, L, s) * steps["gradient_norm"] ** 2
        yield Inequality(theorem, "lower", steps, bound, steps["decrease"], energy_tolerance(steps), premise)


def monotone(steps: pd.DataFrame) -> Iterable[Inequality]:
    """E_{k+1} ≤ E_k where η < 2/((1 + s)L); beyond the limit a rise is reported and no violation.

    L is that of the run, as of `descent`: a sampled certificate. Of a constant momentum nothing is promised.
    """
    steps = _with_curvature(steps)
    limit = step.step_limit(steps["curvature"], np.nan_to_num(clipped_s(steps), nan=1.0))
    premise = steps["certified"] & (steps["lr"] < limit) & (steps["s"] < 1)
    sides = steps["objective"], steps["next_objective"]
    yield Inequality("E_{k+1} ≤ E_k", "upper", steps, *sides, energy_tolerance(steps), premise)


def prediction(steps: pd.DataFrame) -> Iterable[Inequality]:
    """E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖² at every step whose curvature L_k was measured.

    L_k is the largest of three places on the step, and a margin; the premise η L_k ≤ 2 keeps to steps so short that
    the curvature between the places is not another one, and to changes of E that are more than rounding.
    """
    steps = steps[steps["local_curvature"].notna() & steps["decrease"].notna()]
    curvature, measured = (1 + CURVATURE_MARGIN) * steps["local_curvature"], steps["decrease"]
    bound = step.predicted_decrease(steps["slope"], steps["update_norm"], curvature)
    tolerance = energy_tolerance(steps)
    premise = (steps["lr"] * curvature <= 2) & (np.maximum(np.abs(bound), measured.abs()) > tolerance)
    theorem = "E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖²"
    yield Inequality(theorem, "lower", steps, bound, measured, tolerance, premise)


def lyapunov(steps: pd.DataFrame) -> Iterable[Inequality]:
    """V_{k+1} ≤ V_k − ((1 − β)/η − L/2) ‖Δw^{k+1}‖² for V = E + (β/(2η)) ‖Δw‖², along heavy ball.

    L is that of the run, as of `descent`: a sampled certificate. The premise is η < 2(1 − β)/L.
    """
    steps = _with_curvature(steps)
    eta, L, beta = steps["lr"], steps["curvature"], steps["momentum"]
    bound = baselines.lyapunov_decrease(eta, L, beta) * steps["update_norm"] ** 2
    premise = steps["certified"] & (eta < baselines.heavy_ball_step_limit(L, beta))
    tolerance = 4 * energy_tolerance(steps)
    yield Inequality("V_k − V_{k+1} ≥ c_V ‖Δw‖²", "lower", steps, bound, lyapunov_drops(steps), tolerance, premise)


def a_priori_curvature(steps: pd.DataFrame) -> Iterable[Inequality]:
    """λ_max(∇²E_λ) ≤ L(R) on every step whose curvature was measured, of runs whose certificate has `rule: a_priori`.

    The premise is weight decay and η < 2/(L(R)(1 + s)).
    """
    steps = steps[steps["local_curvature"].notna() & steps["assumed_curvature"].notna()]
    L = steps["assumed_curvature"]
    premise = (steps["weight_decay"] > 0) & (steps["lr"] < step.step_limit(L, clipped_s(steps)))
    yield Inequality("λ_max(∇²E_λ) ≤ L(R)", "upper", steps, L, steps["local_curvature"], 1e-9 * L, premise)


def envelope(steps: pd.DataFrame) -> Iterable[Inequality]:
    """E_K ≤ E_0 − c_S Σ_{k<K} ‖g_k‖²: the certified envelope of a run, which is the bound on the sum of gradients.

    The premise is that of `descent`, for the whole run: a sampled certificate.
    """
    steps = certified_runs(steps)
    squared, first = steps["gradient_norm"] ** 2, first_objective(steps)
    bound = first - steps["constant"] * (summed(steps, squared) - squared)
    tolerance, theorem = summed_tolerance(steps, first), "E_K ≤ E_0 − c_S Σ ‖g_k‖²"
    yield Inequality(theorem, "upper", steps, bound, steps["objective"], tolerance, steps["premise"])


def gradient_rate(steps: pd.DataFrame) -> Iterable[Inequality]:
    """min_{k<K} ‖g_k‖² ≤ (E_0 − E_K)/(c_S K), for every K; premise as of `envelope`."""
    steps = certified_runs(steps)
    least = (steps["gradient_norm"] ** 2).groupby([steps[key] for key in RUN]).cummin()
    bound = convergence.least_gradient_bound(_gap_so_far(steps), positive_constant(steps), steps["step"] + 1.0)
    theorem, tolerance = "min ‖g_k‖² ≤ (E_0 − E_K)/(c_S K)", _of_sums(steps, bound)
    yield Inequality(theorem, "upper", steps, bound, least, tolerance, steps["premise"])


def summable(steps: pd.DataFrame) -> Iterable[Inequality]:
    """Σ_{k<K} ‖g_k‖² ≤ (E_0 − E_K)/c_S and Σ_{k<K} ‖Δw^{k+1}‖² ≤ (1 + s)² η² (E_0 − E_K)/c_S, for every K.

    The premise is that of `envelope`: a sampled certificate.
    """
    steps = certified_runs(steps)
    gap, c = _gap_so_far(steps), positive_constant(steps)
    gradients = convergence.gradient_sum_bound(gap, c)
    updates = convergence.update_sum_bound(gap, steps["lr"], clipped_s(steps), c)
    for theorem, quantity, bound in (
        ("Σ ‖g_k‖² ≤ (E_0 − E_K)/c_S", "gradient_norm", gradients),
        ("Σ ‖Δw‖² ≤ (1 + s)²η² (E_0 − E_K)/c_S", "update_norm", updates),
    ):
        measured, tolerance = summed(steps, steps[quantity] ** 2), _of_sums(steps, bound)
        yield Inequality(theorem, "upper", steps, bound, measured, tolerance, steps["premise"])


def speed_limit(steps: pd.DataFrame) -> Iterable[Inequality]:
    """Σ_{k<K} ‖Δw^{k+1}‖ ≤ η (1 + s) Σ_{k<K} ‖g_k‖: the path is never longer than one of steps η (1 + s).

    The premise is s < 1 alone. On a smooth path it is nearly attained.
    """
    bound = summed(steps, convergence.effective_step(steps["lr"], steps["s"]) * steps["gradient_norm"])
    theorem, tolerance = "Σ ‖Δw‖ ≤ η (1 + s) Σ ‖g‖", _of_sums(steps, bound)
    yield Inequality(theorem, "upper", steps, bound, steps["path_length"], tolerance, steps["s"] < 1)


def weight_bound(steps: pd.DataFrame) -> Iterable[Inequality]:
    """‖w^k‖ ≤ √(2 E_λ(w^0)/λ) along a run with weight decay λ; the premise: E_λ never above its start."""
    steps = steps[(steps["weight_decay"] > 0) & steps["parameter_norm"].notna()]
    first, highest = first_objective(steps), steps.groupby(list(RUN))["objective"].transform("max")
    bound = convergence.weight_bound(first, steps["weight_decay"])
    premise, tolerance = highest <= first + energy_tolerance(steps), 1e4 * steps["epsilon"] * bound
    yield Inequality("‖w^k‖ ≤ √(2E_λ(w⁰)/λ)", "upper", steps, bound, steps["parameter_norm"], tolerance, premise)


def certified_runs(steps: pd.DataFrame) -> pd.DataFrame:
    """The steps whose run has a curvature, with `constant`, the c_S of the run, and whether its `premise` holds.

    The premise is about the whole run: η < 2/((1 + s)L), s < 1, and no measured curvature above L.
    """
    steps = steps[(steps["curvature"] > 0) & steps["objective"].notna()]
    eta, L, s = steps["lr"], steps["curvature"], clipped_s(steps)
    premise = steps["certified"] & (eta < step.step_limit(L, s)) & (steps["s"] < 1)
    return steps.assign(constant=step.decrease(eta, L, s), premise=premise)


def positive_constant(steps: pd.DataFrame) -> pd.Series:
    """c_S of each step of `certified_runs`; NaN where it is not positive, for then it bounds nothing."""
    return steps["constant"].where(steps["constant"] > 0)


def summed_tolerance(steps: pd.DataFrame, energy: pd.Series) -> pd.Series:
    """What rounding may do to the sum of as many differences of losses as there are steps before."""
    return energy_tolerance(steps.assign(objective=energy)) * np.maximum(1, steps["step"] ** 0.5)


def lyapunov_drops(steps: pd.DataFrame) -> np.ndarray:
    """V_k − V_{k+1} of every step of heavy ball; NaN where the next loss is not known."""
    eta, beta = steps["lr"], steps["momentum"]
    before = baselines.lyapunov_function(steps["objective"], steps["previous_update"], eta, beta)
    return before - baselines.lyapunov_function(steps["next_objective"], steps["update_norm"], eta, beta)


def _with_curvature(steps: pd.DataFrame) -> pd.DataFrame:
    return steps[(steps["curvature"] > 0) & steps["decrease"].notna()]


def _gap_so_far(steps: pd.DataFrame) -> pd.Series:
    return (first_objective(steps) - steps["next_objective"]).clip(lower=0)


def _of_sums(steps: pd.DataFrame, bound: Any) -> pd.Series:
    return SUM_TOLERANCE * steps["epsilon"] * np.nan_to_num(bound)
