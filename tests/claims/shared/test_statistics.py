import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from boundcheck.claims.shared.statistics import log_log_slope, num_runs_needed, pool, student_interval, student_quantile

samples = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).filter(lambda v: np.ptp(v) > 1e-3)


@given(samples)
@settings(max_examples=60)
def test_interval_is_scipys(values):
    interval = student_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-10, abs=1e-10)
    assert interval.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert (interval.std, interval.num) == (pytest.approx(np.std(values, ddof=1)), len(values))


def test_interval_of_three_by_hand():
    # t(0.975, 2) = 4.30265 from a printed table; s = 1, so the half width is 4.30265/√3
    interval = student_interval([1.0, 2.0, 3.0])
    assert interval.high - interval.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert student_quantile(2) == pytest.approx(4.302653, rel=1e-6)


def test_coverage_is_95_percent():
    draws = np.random.default_rng(0).normal(0.7, 2.0, size=(4000, 4))
    intervals = [student_interval(row) for row in draws]
    covered = np.mean([i.low <= 0.7 <= i.high for i in intervals])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize("values", [[], [2.0], [2.0, 2.0, 2.0], [0.0, 0.0], [1.1 - 1.0, 0.3 - 0.2, 0.6 - 0.5]])
def test_without_a_spread_there_is_no_interval(values):
    interval = student_interval(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.sign == 0
    assert interval.num == len(values)


@pytest.mark.parametrize(("values", "sign"), [([1.0, 1.1, 1.2], 1), ([-1.0, -1.1, -1.2], -1), ([-1.0, 1.1, 1.2], 0)])
def test_sign_is_that_of_the_whole_interval(values, sign):
    assert student_interval(values).sign == sign


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        student_interval([1.0, math.nan])


@given(mean=st.floats(0.05, 20), std=st.floats(0.05, 20), sign=st.sampled_from([-1, 1]))
@settings(max_examples=100)
def test_num_runs_needed_is_the_least(mean, std, sign):
    def excludes_zero(n):
        return stats.t.ppf(0.975, n - 1) * std / math.sqrt(n) < mean

    n = num_runs_needed(sign * mean, std)
    assert excludes_zero(n)
    assert n == 2 or not excludes_zero(n - 1)


@given(samples)
@settings(max_examples=60)
def test_an_undecided_interval_needs_more_runs(values):
    interval = student_interval(values)
    needed = num_runs_needed(interval.mean, interval.std)
    if interval.sign == 0 and needed is not None:
        assert needed > len(values)
    if interval.sign:
        assert needed is not None
        assert needed <= len(values)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.0, math.nan), (1.0, 0.0), (1e-9, 1.0)])
def test_no_number_of_runs(mean, std):
    assert num_runs_needed(mean, std) is None


def test_pool_takes_the_seeds_that_all_cells_have():
    assert pool([{0: 1.0, 1: 3.0, 2: 9.0}, {1: 5.0, 0: 2.0}]) == {0: 1.5, 1: 4.0}
    assert pool([{0: 1.0}, {1: 5.0}]) == {}
    assert pool([]) == {}


def test_slope_is_scipys():
    random = np.random.default_rng(1)
    x = np.geomspace(0.01, 10, 9)
    y = 3 * x**1.7 * np.exp(random.normal(0, 0.2, 9))
    found, expected = log_log_slope(x, y), stats.linregress(np.log(x), np.log(y))
    half = stats.t.ppf(0.975, 7) * expected.stderr
    assert found.slope == pytest.approx(expected.slope, rel=1e-12)
    assert found.intercept == pytest.approx(expected.intercept, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.slope - half, expected.slope + half), rel=1e-12)


def test_slope_of_a_power_law():
    x = np.array([1.0, 2.0, 5.0, 7.0])
    found = log_log_slope(x, 0.3 * x**-2.5)
    assert found.slope == pytest.approx(-2.5, abs=1e-12)
    assert math.exp(found.intercept) == pytest.approx(0.3)
    assert found.high - found.low < 1e-12


def test_two_points_have_a_slope_and_no_interval():
    found = log_log_slope([1, 10], [5, 500])
    assert found.slope == pytest.approx(2)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [([1, 2], [0, 1], "y"), ([-1, 2], [1, 1], "x"), ([1, 1], [1, 2], "x"), ([1, 2, 3], [1, 2], "y"), ([], [], "x")],
)
def test_slope_refuses(x, y, name):
    with pytest.raises(ValueError, match=f"^{name}: got"):
        log_log_slope(x, y)
