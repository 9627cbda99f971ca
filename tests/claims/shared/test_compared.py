import pandas as pd

from boundcheck.claims.shared.compared import steps_to_level

KEYS = {"dataset": "d", "model": "m", "quantity": "loss"}


def curve(method, seed, values):
    return [{**KEYS, "method": method, "seed": seed, "step": 2 * i, "value": v} for i, v in enumerate(values)]


ROWS = pd.DataFrame([*curve("a", 0, [3, 2, 1, 2, 0]), *curve("a", 1, [1, 5]), *curve("b", 0, [3, float("nan"), 2, 2])])


def by_run(rows, column):
    return rows.set_index(["method", "seed"])[column].to_dict()


def test_the_first_step_at_or_below_the_level():
    steps = steps_to_level(ROWS, {"d": 1.0})
    assert by_run(steps, "value") == {("a", 0): 4.0, ("a", 1): 0.0, ("b", 0): 6.0}
    assert by_run(steps, "reached") == {
        ("a", 0): True,
        ("a", 1): True,
        ("b", 0): False,
    }
    assert not len(steps_to_level(ROWS, {"other": 1.0}))


def test_a_share_is_of_each_runs_first_value():
    steps = steps_to_level(ROWS, {"d": 2 / 3}, of_first=True)
    assert by_run(steps, "value") == {("a", 0): 2.0, ("a", 1): 2.0, ("b", 0): 4.0}
