import pytest

from boundcheck.claims.shared.equivalence import SimilarValue, side_of_margin

CELL = ("d", "m")


def decide(make_tables, ratios, margin=0.05):
    values = {
        (*CELL, "a"): dict(enumerate(10.0 * r for r in ratios)),
        (*CELL, "b"): dict.fromkeys(range(len(ratios)), 10.0),
    }
    return SimilarValue("s", "r", "loss", ["a"], "b", margin).decide(make_tables(values, quantity="loss"))


@pytest.mark.parametrize(
    ("ratios", "decision"),
    [
        ([1.01, 0.99, 1.0], "supported"),
        ([1.2, 1.21, 1.19], "contradicted"),
        ([0.8, 0.81, 0.79], "contradicted"),
        ([1.04, 0.99, 1.05], "inconclusive"),
        ([1.01, 1.01, 1.01], "supported"),
    ],
)
def test_the_interval_must_lie_within_the_margin(make_tables, ratios, decision):
    verdict = decide(make_tables, ratios)
    assert verdict.decision == verdict.cells[0]["decision"] == decision
    assert verdict.unit == "%"


def test_a_missing_baseline_is_not_run(make_tables):
    verdict = SimilarValue("s", "r", "loss", ["a"], "c", 0.1).decide(make_tables({(*CELL, "a"): {0: 1.0, 1: 2.0}}))
    assert verdict.decision == "not run"


def test_sides():
    assert side_of_margin(1.0, -4.9, 4.9, 0.05) == "supported"
    assert side_of_margin(7.0, 5.1, 9.0, 0.05) == "contradicted"
    assert side_of_margin(-7.0, -9.0, -5.1, 0.05) == "contradicted"
    assert side_of_margin(0.0, -9.0, 9.0, 0.05) == "inconclusive"
    assert side_of_margin(3.0, float("nan"), float("nan"), 0.05) == "supported"
    assert side_of_margin(float("nan"), 0.0, 0.0, 0.05) == "not run"


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_without_meaning_is_rejected(margin):
    with pytest.raises(ValueError, match=r"^margin: got"):
        SimilarValue("s", "r", "loss", ["a"], "b", margin)
