"""Checks of strong convergence: how long the path can be, and how fast the loss falls, by the KL property of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.dag_momentum.steps import clipped_s, energy_tolerance
from boundcheck.claims.dag_momentum.theorems import Inequality, certified_runs, positive_constant, summed_tolerance
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import log_log_slope
from boundcheck.theory.dag_momentum import convergence

RESOLVED = 1e4  # a gap E_k − E_end counts from so many times its rounding error on
LARGEST_EXPONENT = 0.95
FITTED = (1e-2, 1e-6)  # the gaps, as shares of the first, over which the exponent of a whole run is fitted
FEWEST_STEPS = 10


def finite_length(steps: pd.DataFrame) -> Iterable[Inequality]:
    """From any step K on, the path is at most (1 + s) η φ(E_K − E_end)/c long, φ(t) = C t^(1−θ)/(1 − θ).

    The theorem wants |E − E*|^θ ≤ C ‖∇E‖ on the path. E* is taken for the last recorded E_end and C for the largest
    (E_k − E_end)^θ/‖g_k‖ from K on, so that on the recorded path the inequality holds by construction, and the theorem
    is one about that finite path; θ is the fitted exponent, kept in [1/2, 1). The premise is the sampled
    certificate's.
    """
    steps = certified_runs(steps)
    gap, is_resolved = _gaps(steps)
    keys = [steps[key] for key in RUN]
    theta = np.clip(_exponents(steps), 0.5, LARGEST_EXPONENT)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = gap.clip(lower=0) ** theta / steps["gradient_norm"]
    C = _from_the_end(ratio, keys).cummax()[::-1]
    lengths = steps["update_norm"].where(gap.groupby(keys).cumcount(ascending=False) > 0, 0.0)
    ahead = _from_the_end(lengths, keys).cumsum()[::-1]
    c, kl = positive_constant(steps), (theta, C)
    bound = convergence.path_length_bound(np.maximum(gap, 0), steps["lr"], clipped_s(steps), c, kl)
    bound = np.where(is_resolved, bound, np.nan)
    theorem = "Σ_{k≥K} ‖Δw‖ ≤ (1 + s) η φ(E_K − E_end)/c_S"
    yield Inequality(theorem, "upper", steps, bound, ahead, 1e-9 * np.nan_to_num(bound), steps["premise"])


def linear_rate(steps: pd.DataFrame) -> Iterable[Inequality]:
    """E_K − E_end ≤ (1 − 2μ c_S)^K (E_0 − E_end), μ the least ‖g_k‖²/(2(E_k − E_end)) of the run.

    That is the PL inequality with the constant that it has on the recorded path, and the last recorded loss for the
    limit; the premise is the (sampled) certificate's. It is stated from the second step on.
    """
    steps = certified_runs(steps)
    gap, is_resolved = _gaps(steps)
    keys = [steps[key] for key in RUN]
    with np.errstate(divide="ignore", invalid="ignore"):
        mu = (steps["gradient_norm"] ** 2 / (2 * gap)).where(is_resolved)
    mu, first = mu.groupby(keys).transform("min"), gap.groupby(keys).transform("first")
    bound = convergence.linear_rate(mu, positive_constant(steps)) ** steps["step"] * first
    bound = bound.where(is_resolved & (steps["step"] > 0))
    theorem = "E_K − E_end ≤ (1 − 2μc_S)^K (E_0 − E_end)"
    yield Inequality(theorem, "upper", steps, bound, gap, summed_tolerance(steps, first), steps["premise"])


def _gaps(steps: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """E_k − E_end of every step, and whether it is far above rounding."""
    gap = steps["objective"] - steps.groupby(list(RUN))["objective"].transform("last")
    return gap, gap > RESOLVED * energy_tolerance(steps)


def kl_exponent(run: pd.DataFrame) -> float:
    """θ of ‖g‖ ~ (E − E_end)^θ, where E − E_end is between 10⁻² and 10⁻⁶ of its start; NaN with too few steps there."""
    E, g = (run[name].to_numpy(np.float64) for name in ("objective", "gradient_norm"))
    gap = E - E[-1]
    return _fitted(gap, g, FITTED[1] * gap[0], FITTED[0] * gap[0])


def local_kl_exponents(run: pd.DataFrame) -> list[tuple[float, int, float]]:
    """Along a run, for every decade of the gap E − E_end: its upper end as a share of the first gap, the first step
    in it, and θ, the slope of log ‖g‖ against log (E − E_end) there."""
    E, g, step = (run[name].to_numpy(np.float64) for name in ("objective", "gradient_norm", "step"))
    gap, exponents = E - E[-1], []
    for decade in range(round(-np.log10(FITTED[1]))):
        upper = 10.0**-decade
        theta = _fitted(gap, g, upper / 10 * gap[0], upper * gap[0])
        if not math.isnan(theta):
            exponents.append((upper, int(step[(gap <= upper * gap[0]) & (gap > 0)].min()), theta))
    return exponents


def _fitted(gap: np.ndarray, g: np.ndarray, low: float, high: float) -> float:
    fitted = (gap <= high) & (gap >= low) & (gap > 0) & (g > 0)
    if fitted.sum() < FEWEST_STEPS or not np.ptp(gap[fitted]) > 0:
        return math.nan
    return log_log_slope(gap[fitted], g[fitted]).slope


def _from_the_end(values: pd.Series, keys: Sequence[pd.Series]) -> Any:
    """The values of each run in groups, last step first."""
    return values[::-1].groupby([key[::-1] for key in keys])


def _exponents(steps: pd.DataFrame) -> np.ndarray:
    """The exponent of each step's run; 1/2 where it cannot be fitted."""
    exponents = {run: kl_exponent(part) for run, part in steps.groupby(list(RUN))}
    runs = zip(*(steps[key] for key in RUN), strict=True)
    return np.nan_to_num(np.array([exponents[run] for run in runs]), nan=0.5)
