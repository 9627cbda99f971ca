"""The claim that a premise is needed."""

from __future__ import annotations

import pandas as pd
import pytest

from boundcheck.claims.shared.counter_example import CounterExample
from boundcheck.claims.shared.rows import check_rows

KEYS = ["dataset", "model", "method", "seed", "step", "epoch"]


@pytest.fixture
def decide(make_tables):
    def decide(measured, sense="lower", premise=False, tolerance=0.0, methods=("momentum", "adam")):
        """One row for each method with bound 2."""
        keys = pd.DataFrame([("m", "wn", method, 0, 1, 1.0) for method in measured], columns=KEYS)
        rows = check_rows(keys, "t", sense, 2.0, list(measured.values()), tolerance, premise).assign(check="c")
        tables = make_tables({("m", "wn", method): {0: 1.0} for method in measured})
        return CounterExample(check="c", methods=methods).decide(tables._replace(checks=rows))

    return decide


def test_supported_where_every_method_breaks_the_bound(decide):
    verdict = decide({"momentum": 1.9, "adam": 1.0, "gd": 3.0})
    assert (verdict.decision, verdict.num_runs, verdict.unit) == ("supported", 2, "%")
    assert verdict.effect == pytest.approx(50)


@pytest.mark.parametrize(
    ("measured", "decision"),
    [
        ({"momentum": 1.0, "adam": 2.1}, "inconclusive"),
        ({"momentum": 2.0, "adam": 2.1}, "contradicted"),
        ({"gd": 1.0}, "not run"),
    ],
)
def test_other_decisions(decide, measured, decision):
    assert decide(measured).decision == decision


def test_rows_whose_premise_holds_do_not_count(decide):
    assert decide({"momentum": 1.0, "adam": 1.0}, premise=True).decision == "not run"


@pytest.mark.parametrize(("sense", "outside"), [("upper", 2.5), ("lower", 1.5), ("equal", 2.5), ("equal", 1.5)])
def test_senses_and_tolerance(decide, sense, outside):
    assert decide({"adam": outside}, sense).decision == "supported"
    assert decide({"adam": outside}, sense, tolerance=0.6).decision == "contradicted"
