import math

import pytest

from boundcheck.claims.shared.decision import decide_sign, side_of_margin
from boundcheck.report.reasons import worded


def decide(cells, sign):
    return decide_sign({("d", "m", name): by_seed for name, by_seed in cells.items()}, sign)


CLEAR = {0: -1.0, 1: -1.1, 2: -0.9}
UNCLEAR = {0: -1.0, 1: 1.1, 2: -0.9}
REVERSED = {0: 1.0, 1: 1.1, 2: 0.9}
LARGE = {0: -10.0, 1: -10.3, 2: -9.8}


@pytest.mark.parametrize(
    ("cells", "decision"),
    [
        ({"a": CLEAR}, "supported"),
        ({"a": CLEAR, "b": CLEAR}, "supported"),
        ({"a": LARGE, "b": UNCLEAR}, "supported"),  # one cell alone is undecided, the pool is not
        ({"a": UNCLEAR}, "inconclusive"),
        ({"a": REVERSED}, "contradicted"),
        ({"a": LARGE, "b": REVERSED}, "inconclusive"),  # the pool supports it, one cell contradicts
        ({"a": CLEAR, "b": {s: 10 * v for s, v in REVERSED.items()}}, "contradicted"),
        ({"a": {0: -1.0}}, "inconclusive"),
        ({"a": {0: -1.0, 1: -1.0, 2: -1.0}}, "inconclusive"),
        ({"a": CLEAR, "b": {7: -1.0, 8: -1.1}}, "inconclusive"),  # no seed that both have
    ],
)
def test_decisions_of_a_lower_value(cells, decision):
    assert decide(cells, -1).decision == decision


def test_the_opposite_statement_has_the_opposite_decision():
    opposite = {"supported": "contradicted", "contradicted": "supported", "inconclusive": "inconclusive"}
    for by_seed in (CLEAR, UNCLEAR, REVERSED):
        lower, higher = (decide({"a": by_seed}, sign).decision for sign in (-1, 1))
        assert higher == opposite[lower]


def test_pooled_interval_is_over_the_means_of_the_seeds():
    found = decide({"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 6.0}}, 1).pooled
    assert (found.mean, found.num) == (3.0, 2)
    assert found.std == pytest.approx(math.sqrt(2))  # of 2 and 4


def test_a_cell_without_pairs_does_not_stop_the_others():
    found = decide({"a": CLEAR, "b": {}}, -1)
    assert found.decision == "supported"
    assert found.decisions["d", "m", "b"] == "not run"
    assert worded(found.reasons) == "as claimed in 1 of 1 cell"


def test_reasons_say_what_is_in_the_way():
    assert "covers 0" in worded(decide({"a": UNCLEAR}, -1).reasons)
    assert "one and the same difference" in worded(decide({"a": {0: -1.0, 1: -1.0}}, -1).reasons)
    assert "two seeds" in worded(decide({"a": {0: -1.0}}, -1).reasons)
    disagree = decide({"a": LARGE, "b": REVERSED}, -1)
    assert worded(disagree.reasons).startswith("the cells disagree")
    assert "reverse in 1: d/m/b" in worded(disagree.reasons)


def test_only_an_undecided_pool_needs_more_runs():
    assert decide({"a": UNCLEAR}, -1).num_runs_needed > 3
    assert decide({"a": CLEAR}, -1).num_runs_needed is None
    assert decide({"a": LARGE, "b": REVERSED}, -1).num_runs_needed is None


def test_sides_of_a_margin():
    assert side_of_margin(1.0, -4.9, 4.9, 0.05) == "supported"
    assert side_of_margin(7.0, 5.1, 9.0, 0.05) == "contradicted"
    assert side_of_margin(-7.0, -9.0, -5.1, 0.05) == "contradicted"
    assert side_of_margin(0.0, -9.0, 9.0, 0.05) == "inconclusive"
    assert side_of_margin(3.0, math.nan, math.nan, 0.05) == "supported"
    assert side_of_margin(math.nan, 0.0, 0.0, 0.05) == "not run"
