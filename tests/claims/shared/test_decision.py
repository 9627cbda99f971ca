import math

import pytest

from boundcheck.claims.shared.decision import decide_sign

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
    assert decide_sign(cells, -1, "lower").decision == decision


def test_the_opposite_statement_has_the_opposite_decision():
    opposite = {"supported": "contradicted", "contradicted": "supported", "inconclusive": "inconclusive"}
    for by_seed in (CLEAR, UNCLEAR, REVERSED):
        lower, higher = (decide_sign({"a": by_seed}, sign, "").decision for sign in (-1, 1))
        assert higher == opposite[lower]


def test_pooled_interval_is_over_the_means_of_the_seeds():
    found = decide_sign({"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 6.0}}, 1, "higher").pooled
    assert (found.mean, found.num) == (3.0, 2)
    assert found.std == pytest.approx(math.sqrt(2))  # of 2 and 4


def test_a_cell_without_pairs_does_not_stop_the_others():
    found = decide_sign({"a": CLEAR, "b": {}}, -1, "lower than sgd")
    assert found.decision == "supported"
    assert found.of_cell("b", -1) == "not run"
    assert found.reason == "lower than sgd in 1 of 1 cells"


def test_reasons_say_what_is_in_the_way():
    assert "covers 0" in decide_sign({"a": UNCLEAR}, -1, "lower").reason
    assert "one and the same difference" in decide_sign({"a": {0: -1.0, 1: -1.0}}, -1, "lower").reason
    assert "two seeds" in decide_sign({"a": {0: -1.0}}, -1, "lower").reason
    disagree = decide_sign({"a": LARGE, "b": REVERSED}, -1, "lower")
    assert disagree.reason.startswith("the cells disagree")
    assert "reverse in 1: b" in disagree.reason


def test_only_an_undecided_pool_needs_more_runs():
    assert decide_sign({"a": UNCLEAR}, -1, "lower").num_runs_needed > 3
    assert decide_sign({"a": CLEAR}, -1, "lower").num_runs_needed is None
    assert decide_sign({"a": LARGE, "b": REVERSED}, -1, "lower").num_runs_needed is None
