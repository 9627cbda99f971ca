import pytest

from boundcheck.claims.shared.level import ReachesLevel

CELLS = {("d", "m", "a"): {0: 0.94, 1: 0.95, 2: 0.96}, ("d", "m", "b"): {0: 0.91, 1: 0.93, 2: 0.92}}


def claim(**changes):
    settings = {"quantity": "test_accuracy", "level": 0.9, "side": "above", "source": "curves", **changes}
    return ReachesLevel(**settings)


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, "supported"),
        ({"level": 0.99}, "contradicted"),
        ({"level": 0.99, "side": "below"}, "supported"),
        ({"level": 0.935}, "inconclusive"),
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


def test_only_the_named_methods_count(make_tables):
    assert claim(level=0.935, methods="a").decide(make_tables(CELLS)).decision == "inconclusive"
    assert claim(level=0.92, methods="a").decide(make_tables(CELLS)).decision == "supported"


def test_only_the_named_models_count(make_tables):
    values = {**CELLS, ("d", "other", "a"): {0: 0.1, 1: 0.1, 2: 0.11}}
    assert claim().decide(make_tables(values)).decision == "contradicted"
    assert claim(models="m").decide(make_tables(values)).decision == "supported"


@pytest.mark.parametrize("changes", [{"side": "over"}, {"source": "curve"}, {"level": float("nan")}])
def test_settings_that_make_no_sense(changes):
    with pytest.raises(ValueError, match="allowed"):
        claim(**changes)
