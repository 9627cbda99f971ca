import math

import numpy as np
import pandas as pd
import pytest

from boundcheck import tables
from boundcheck.claims.shared.rows import KEYS, check_rows, tightness, wide

INF, NAN = math.inf, math.nan


def keys(n):
    return pd.DataFrame({name: [name] * n for name in KEYS} | {"seed": range(n), "step": 0, "epoch": 0.0, "extra": 1})


def rows(sense, bound, measured, **settings):
    bound, measured = np.atleast_1d(bound), np.atleast_1d(measured)
    return check_rows(keys(len(bound)), "a ≤ b", sense, bound, measured, **settings)


@pytest.mark.parametrize(
    ("sense", "bound", "measured", "tolerance", "holds"),
    [
        ("upper", 2.0, 1.0, 0.0, True),
        ("upper", 2.0, 2.0, 0.0, True),
        ("upper", 2.0, 2.1, 0.0, False),
        ("upper", 2.0, 2.1, 0.2, True),
        ("upper", INF, 5.0, 0.0, True),
        ("upper", 2.0, INF, 0.0, False),
        ("lower", 2.0, 3.0, 0.0, True),
        ("lower", 2.0, 1.9, 0.0, False),
        ("lower", 2.0, 1.9, 0.2, True),
        ("equal", 2.0, 2.1, 0.2, True),
        ("equal", 2.0, 1.7, 0.2, False),
        ("equal", 2.0, 2.3, 0.2, False),
    ],
)
def test_holds(sense, bound, measured, tolerance, holds):
    assert rows(sense, bound, measured, tolerance=tolerance)["holds"].tolist() == [holds]


def test_holds_is_null_where_nothing_is_claimed():
    found = rows("upper", [1.0, 1.0, NAN, 1.0], [2.0, 2.0, 2.0, NAN], premise_holds=[True, False, True, True])
    assert found["holds"].isna().tolist() == [False, True, True, True]
    assert found["premise_holds"].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("sense", "bound", "measured", "expected"),
    [
        ("upper", 3.0, 2.0, 1.5),
        ("upper", 2.0, 4.0, 0.5),
        ("upper", 1.0, 0.0, INF),
        ("upper", -1.0, 2.0, 0.0),
        ("upper", -1.0, -2.0, NAN),
        ("lower", 2.0, 3.0, 1.5),
        ("lower", -1.0, 3.0, INF),
        ("lower", 2.0, 0.0, 0.0),
        ("equal", 2.0, 1.0, 2.0),
        ("equal", 1.0, 2.0, 2.0),
        ("upper", 0.0, 0.0, 1.0),
        ("lower", -3.0, -3.0, 1.0),
    ],
)
def test_tightness(sense, bound, measured, expected):
    assert tightness(sense, bound, measured) == pytest.approx(expected, nan_ok=True)


def test_rows_have_the_columns_of_the_table_of_checks():
    found = rows("upper", [1.0, 2.0], [0.5, 1.0], coordinate=[0.1, 0.2])
    assert {*found.columns} == {*tables.CHECKS.names} - {"check"}
    assert found["coordinate"].tolist() == [0.1, 0.2]
    assert found["seed"].tolist() == [0, 1]


def test_no_rows_are_fine():
    assert len(check_rows(keys(0), "a ≤ b", "upper", [], [])) == 0


@pytest.mark.parametrize("tolerance", [-1.0, NAN])
def test_a_tolerance_must_be_a_size(tolerance):
    with pytest.raises(ValueError, match="tolerance: got"):
        rows("upper", 1.0, 1.0, tolerance=tolerance)


def measured(quantity, value, analysis="flatness", seed=0, step=0, coordinate=NAN, error=NAN):
    cell = {"dataset": "d", "model": "m", "method": "o", "seed": seed, "step": step, "epoch": float(step)}
    found = {"quantity": quantity, "index": -1, "coordinate": coordinate, "value": value, "error": error}
    return cell | found | {"analysis": analysis}


def test_wide_keeps_analyses_apart_and_carries_errors():
    table = pd.DataFrame(
        [
            measured("a", 1.0, coordinate=0.1, error=0.5),
            measured("b", 2.0, coordinate=0.1),
            measured("a", 3.0, coordinate=0.2),
            measured("b", 4.0, "other", coordinate=0.2),
            measured("c", 9.0, coordinate=0.2),
        ]
    )
    found = wide(table, ["a", "b"], by_coordinate=True).sort_values(["analysis", "coordinate"])
    assert found[["analysis", "coordinate", "a", "b", "a_error"]].to_numpy().tolist() == [
        ["flatness", 0.1, 1.0, 2.0, 0.5],
        ["flatness", 0.2, 3.0, pytest.approx(NAN, nan_ok=True), pytest.approx(NAN, nan_ok=True)],
        ["other", 0.2, pytest.approx(NAN, nan_ok=True), 4.0, pytest.approx(NAN, nan_ok=True)],
    ]


@pytest.mark.parametrize("by_coordinate", [True, False])
def test_wide_of_what_was_never_measured(by_coordinate):
    found = wide(pd.DataFrame([measured("c", 1.0)]), ["a"], by_coordinate)
    assert len(found) == 0
    assert {"a", "a_error", *KEYS} <= {*found.columns}
