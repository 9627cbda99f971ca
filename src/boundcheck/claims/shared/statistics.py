"""Intervals over seeds: paired differences, their pooling over cells, and how many runs an undecided one would need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from boundcheck.contracts import NAN

CONFIDENCE = 0.95
QUANTILE = (1 + CONFIDENCE) / 2
RESOLUTION = 1e-9  # a spread this far below the values is rounding, not variation between seeds
LARGEST_NUM_RUNS = 10**6


class Interval(NamedTuple):
    """A mean over `num` seeds with its two-sided 95% interval; NaN bounds where the spread cannot be estimated."""

    mean: float
    low: float
    high: float
    std: float
    num: int

    @property
    def sign(self) -> int:
        """+1 or −1 where the whole interval lies above or below 0; else 0 (also where there is no interval)."""
        return int(self.low > 0) - int(self.high < 0)

    def exp(self) -> Interval:
        """Of the interval of a logarithm, that of what it is the logarithm of."""
        return self._replace(mean=math.exp(self.mean), low=math.exp(self.low), high=math.exp(self.high))

    def as_effect(self, unit: str) -> dict[str, Any]:
        """The fields of a verdict that tell its effect."""
        return {"effect": self.mean, "low": self.low, "high": self.high, "unit": unit, "num_runs": self.num}

    def as_evidence(self) -> dict[str, Any]:
        """The columns of a row of evidence that tell its effect."""
        return {"effect": self.mean, "low": self.low, "high": self.high, "n": self.num}


class Slope(NamedTuple):
    """The exponent p of y ≈ C x^p with its 95% interval, and log C."""

    slope: float
    low: float
    high: float
    intercept: float
    num: int


def student_quantile(degrees_of_freedom: int) -> float:
    """t with P(|T| ≤ t) = 0.95 for T of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, QUANTILE))


def student_interval(values: ArrayLike) -> Interval:
    """The mean of a normal sample with its 95% interval: x̄ ± t₀.₉₇₅(n−1) s/√n.

    One value has no spread, and n equal values give none that could be estimated (they come from a quantity with
    few levels, such as an accuracy on few examples): both get NaN bounds, so neither can decide anything.

    Args:
        values: (n,), one number per seed; paired differences in a comparison.

    Raises:
        ValueError: a value is not finite.

    References:
        Student 1908, The probable error of a mean.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sample).all():
        raise ValueError(f"values: got {sample.tolist()}; allowed: finite numbers")
    n = sample.size
    if n == 0:
        return Interval(NAN, NAN, NAN, NAN, 0)
    mean = float(sample.mean())
    std = float(sample.std(ddof=1)) if n > 1 else NAN
    if not std > RESOLUTION * np.abs(sample).max():
        return Interval(mean, NAN, NAN, std if n == 1 else 0.0, n)
    half = student_quantile(n - 1) * std / n**0.5
    return Interval(mean, mean - half, mean + half, std, n)


def num_runs_needed(mean: float, std: float) -> int | None:
    """The least n whose 95% interval excludes 0 at this mean and spread: t₀.₉₇₅(n−1) s/√n < |x̄|.

    None where the mean x̄ is 0, the standard deviation s between seeds is unknown, or n would exceed a million.
    """
    from scipy.special import ndtri

    if not (std > 0 and abs(mean) > 0):
        return None
    # Student's quantile is above the normal one, so that this is never too many
    least = (float(ndtri(QUANTILE)) * std / abs(mean)) ** 2
    if least > LARGEST_NUM_RUNS:
        return None
    n = max(2, int(least))
    while student_quantile(n - 1) * std >= abs(mean) * n**0.5:
        n += 1
    return n


def pool(cells: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Per-seed means over cells: for each seed that every cell has, the mean of its differences.

    Cells weigh alike, and a seed missing in one cell is left out, so that no cell enters through some seeds only.
    """
    if not cells:
        return {}
    common = set.intersection(*(set(cell) for cell in cells))
    return {seed: float(np.mean([cell[seed] for cell in cells])) for seed in sorted(common)}


def log_log_slope(x: ArrayLike, y: ArrayLike) -> Slope:
    """Least-squares fit of log y = log C + p log x, with the 95% Student interval of p on n − 2 degrees of freedom.

    Args:
        x: (n,), positive, not all equal.
        y: (n,), positive.

    Returns: the slope, with NaN bounds for two points, which any line fits.

    Raises:
        ValueError: unequal lengths, fewer than two different x, or a value that has no logarithm.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"y: got shape {y.shape} for x of shape {x.shape}; allowed: two vectors of one length")
    for name, values in (("x", x), ("y", y)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name}: got {values.tolist()}; allowed: finite and > 0")
    log_x, log_y = np.log(x), np.log(y)
    if x.size < 2 or not np.ptp(log_x) > 0:
        raise ValueError(f"x: got {x.tolist()}; allowed: at least two different values")
    centred = log_x - log_x.mean()
    slope = float(centred @ log_y / (centred @ centred))
    intercept = float(log_y.mean() - slope * log_x.mean())
    if x.size == 2:
        return Slope(slope, NAN, NAN, intercept, 2)
    residuals = log_y - intercept - slope * log_x
    variance = float(residuals @ residuals) / (x.size - 2)
    half = student_quantile(x.size - 2) * (variance / float(centred @ centred)) ** 0.5
    return Slope(slope, slope - half, slope + half, intercept, x.size)


def rank_correlation(x: ArrayLike, y: ArrayLike, num: int | None = None) -> Interval:
    """Spearman's rank correlation of pairs, with its 95% interval in Fisher's z; ties share their mean rank.

    Args:
        x: (n,) finite.
        y: (n,) finite.
        num: how many of the pairs count as independent; all, by default.

    Returns:
        The correlation with `std` that of its z, √((1 + r²/2)/(num − 3)); without a value (num 0) for fewer than
        four independent pairs or where all of x or of y are equal.

    References:
        Bonett and Wright 2000, Sample size requirements for estimating Pearson, Kendall and Spearman correlations.
    """
    from scipy.stats import rankdata

    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    num = x.size if num is None else num
    if num < 4 or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return Interval(NAN, NAN, NAN, NAN, 0)
    r = float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    return _of_fisher_z(r, ((1 + r**2 / 2) / (num - 3)) ** 0.5, num)


def pooled_rank_correlation(intervals: Sequence[Interval]) -> Interval:
    """Rank correlations of independent groups as one: the mean of their z, weighted by the inverse variances."""
    known = [interval for interval in intervals if interval.num]
    if not known:
        return Interval(NAN, NAN, NAN, NAN, 0)
    weights = np.array([interval.std**-2 for interval in known])
    z = float(weights @ [_fisher_z(interval.mean) for interval in known] / weights.sum())
    return _of_fisher_z(float(np.tanh(z)), float(weights.sum() ** -0.5), sum(interval.num for interval in known))


def _of_fisher_z(r: float, std: float, num: int) -> Interval:
    from scipy.special import ndtri

    z, half = _fisher_z(r), float(ndtri(QUANTILE)) * std
    return Interval(r, float(np.tanh(z - half)), float(np.tanh(z + half)), std, num)


def _fisher_z(r: float) -> float:
    """artanh r, finite where the ranks agree completely."""
    return float(np.arctanh(np.clip(r, -1 + RESOLUTION, 1 - RESOLUTION)))
