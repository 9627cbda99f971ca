import numpy as np
import pytest
from scipy.stats import spearmanr

from boundcheck.claims.shared.rank_correlation import PredictsGap
from boundcheck.claims.shared.statistics import pooled_rank_correlation, rank_correlation
from boundcheck.contracts import NAN
from boundcheck.report.reasons import worded

METHODS = [f"m{i}" for i in range(8)]


def tables_with(make_tables, sharpness, gap, statuses=None):
    """Sharpness and loss gap by (method number, seed)."""
    values = {("d", "net", name): {seed: gap(i, seed) + 1.0 for seed in range(3)} for i, name in enumerate(METHODS)}
    measurements = [
        ("d", "net", name, seed, 20, 2.0, "sharpness", -1, NAN, sharpness(i, seed), NAN, "spectrum")
        for i, name in enumerate(METHODS)
        for seed in range(3)
    ]
    tables = make_tables(values, quantity="test_loss", measurements=measurements, statuses=statuses)
    training = tables.curves.assign(quantity="full_train_loss", value=1.0)
    import pandas as pd

    return tables._replace(curves=pd.concat([tables.curves, training], ignore_index=True))


CLAIM = PredictsGap(quantity="sharpness")


@pytest.mark.parametrize(
    ("gap", "decision"),
    [
        (lambda i, seed: 0.1 * i, "supported"),
        (lambda i, seed: -0.1 * i, "contradicted"),
        (lambda i, seed: 0.1 * ((i * 5) % 8), "inconclusive"),
    ],
)
def test_decision(make_tables, gap, decision):
    assert CLAIM.decide(tables_with(make_tables, lambda i, seed: 2.0**i, gap)).decision == decision


def test_methods_and_seeds_are_told_apart(make_tables):
    """Between methods the gap rises with sharpness, within each method it falls."""
    tables = tables_with(make_tables, lambda i, seed: 10 * i + seed, lambda i, seed: 10.0 * i - seed - 0.01 * i * seed)
    verdict = CLAIM.decide(tables)
    assert verdict.decision == "supported"
    rows = {row["method"]: row for row in verdict.cells}
    assert rows["between methods"]["effect"] == pytest.approx(1)
    assert rows["between methods"]["n"] == 8
    assert rows["within methods"]["effect"] < -0.8
    assert rows["within methods"]["n"] == 8 * 2 + 1
    assert "within methods -" in worded(verdict.reason)


def test_three_methods_are_too_few(make_tables):
    claim = PredictsGap(quantity="sharpness", methods=METHODS[:3])
    verdict = claim.decide(tables_with(make_tables, lambda i, seed: i, lambda i, seed: i))
    assert verdict.decision == "not run"
    assert "four methods" in worded(verdict.reason)


def test_diverged_runs_are_left_out_and_named(make_tables):
    tables = tables_with(
        make_tables, lambda i, seed: i, lambda i, seed: 0.1 * i, statuses={("d", "net", "m0", 0): "diverged"}
    )
    verdict = CLAIM.decide(tables)
    assert verdict.num_runs == 8  # methods, of which one has two runs left
    assert len(verdict.figures[1].data) == 23
    assert "1 run diverged" in worded(verdict.reason)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 30).astype(float)  # with ties
    y = x + rng.normal(size=30) * 2
    found = rank_correlation(x, y)
    assert found.mean == pytest.approx(spearmanr(x, y).statistic, rel=1e-12)
    assert found.low < found.mean < found.high


def test_the_interval_covers_as_often_as_it_says():
    """Bivariate normal pairs: the rank correlation at ρ = 0.6 is (6/π) asin(ρ/2)."""
    rng = np.random.default_rng(1)
    true = 6 / np.pi * np.arcsin(0.3)
    covered = 0
    for _ in range(1000):
        x = rng.normal(size=20)
        interval = rank_correlation(x, 0.6 * x + 0.8 * rng.normal(size=20))
        covered += interval.low <= true <= interval.high
    assert 925 <= covered <= 975


def test_pooling_weighs_by_variance():
    small, large = rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]), rank_correlation(range(50), range(50))
    pooled = pooled_rank_correlation([small, large, rank_correlation([1, 2], [1, 2])])
    assert small.mean < pooled.mean <= 1
    assert pooled.num == 55


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4])])
def test_what_has_no_rank_correlation(x, y):
    assert rank_correlation(x, y).num == 0
