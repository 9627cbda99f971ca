"""Comparisons with a number in place of a baseline."""

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.registry import build

CELLS = {("d", "m", "a"): {0: 0.94, 1: 0.95, 2: 0.96}, ("d", "m", "b"): {0: 0.91, 1: 0.93, 2: 0.92}}


def claim(**changes):
    return build(CLAIMS, {"kind": "higher_value", "quantity": "test_accuracy", "baseline_value": 0.9, **changes})


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, "supported"),
        ({"baseline_value": 0.99}, "contradicted"),
        ({"baseline_value": 0.99, "kind": "lower_value"}, "supported"),
        ({"baseline_value": 0.935}, "inconclusive"),
        ({"quantity": "nothing"}, "not run"),
    ],
)
def test_decision(make_tables, changes, decision):
    assert claim(**changes).decide(make_tables(CELLS)).decision == decision


def test_effect_is_the_distance_from_the_level(make_tables):
    verdict = claim().decide(make_tables(CELLS))
    assert verdict.effect == pytest.approx(0.035)
    assert verdict.num_runs == 3
    assert [row["value"] for row in verdict.cells] == pytest.approx([0.95, 0.92])
    assert verdict.low < verdict.effect < verdict.high
    assert verdict.figures[0].x_label == "test accuracy: difference from 0.9"


def test_only_the_named_cells_count(make_tables):
    assert claim(baseline_value=0.935, methods="a").decide(make_tables(CELLS)).decision == "inconclusive"
    assert claim(baseline_value=0.92, methods="a").decide(make_tables(CELLS)).decision == "supported"
    values = {**CELLS, ("d", "other", "a"): {0: 0.1, 1: 0.1, 2: 0.11}}
    assert claim().decide(make_tables(values)).decision == "contradicted"
    assert claim(models="m").decide(make_tables(values)).decision == "supported"


@pytest.mark.parametrize(
    "changes", [{"baseline": "sgd"}, {"baseline_quantity": "accuracy"}, {"baseline_value": float("nan")}]
)
def test_settings_that_make_no_sense(changes):
    with pytest.raises(ValueError, match="allowed"):
        claim(**changes)
