import pandas as pd
import pytest

from boundcheck.claims.shared.steps_to_level import ReachesSooner, never_reached, steps_to_level

KEYS = {"dataset": "d", "model": "m", "quantity": "loss"}


def curve(method, seed, values):
    return [{**KEYS, "method": method, "seed": seed, "step": 2 * i, "value": v} for i, v in enumerate(values)]


def test_the_first_step_at_or_below_the_level():
    rows = pd.DataFrame(
        [*curve("a", 0, [3, 2, 1, 2, 0]), *curve("a", 1, [1, 5]), *curve("b", 0, [3, float("nan"), 2, 2])]
    )
    found = steps_to_level(rows, 1.0).set_index(["method", "seed"])["value"].to_dict()
    assert found == {("a", 0): 4.0, ("a", 1): 0.0, ("b", 0): 6.0}  # the last never is
    assert never_reached(rows, 1.0) == 1


def test_the_claim(make_tables):
    """Of `value` a third, a half, and the whole after 0, 10 and 20 steps: a negative value falls."""
    cell = ("d", "m")
    values = {(*cell, "fast"): {0: -30.0, 1: -40.0, 2: -12.0}, (*cell, "slow"): {0: -9.0, 1: -9.5, 2: -9.0}}
    tables = make_tables(values, quantity="objective")
    claim = ReachesSooner("s", "r", "objective", ["fast"], "slow", level=-5.0)
    verdict = claim.decide(tables)
    assert verdict.effect == pytest.approx((0 + 0 + 10) / 3 - 20)
    assert verdict.unit == "steps"
    assert verdict.decision == "supported"
    assert verdict.reason.startswith("steps until objective ≤ -5")
    assert "never" not in verdict.reason
    assert [figure.mark for figure in verdict.figures] == ["interval", "line"]
    assert verdict.figures[0].x_label == "steps until objective ≤ -5: difference from slow"
    assert "in steps until objective ≤ -5: mean" in verdict.figures[0].caption
    assert verdict.figures[1].y_label == "objective"
    assert set(verdict.figures[1].data["x"]) == {0.0, 1.0, 2.0}
    hard = ReachesSooner("s", "r", "objective", ["fast"], "slow", level=-9.2).decide(tables)
    assert "2 runs never reach it" in hard.reason
    assert ReachesSooner("s", "r", "objective", ["none"], "slow").decide(tables).decision == "not run"
