"""Decisions about what ascents found hear how much these may have missed."""

from __future__ import annotations

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.contracts import NAN
from boundcheck.registry import build
from boundcheck.report.reasons import worded

CELL = ("mnist5k", "mlp")


def tables_with(make_tables, values, errors, quantity, more=()):
    """Measurements of a few methods, by method and seed, with one relative error for each method."""
    rows = [
        (*CELL, method, seed, 20, 2.0, quantity, -1, 0.2, value, errors[method] * value, "flatness")
        for method, by_seed in values.items()
        for seed, value in by_seed.items()
    ]
    runs = {(*CELL, method): dict.fromkeys(by_seed, 1.0) for method, by_seed in values.items()}
    return make_tables(runs, measurements=[*rows, *more])


def decide(kind, tables, quantity="first_order_flatness", **settings):
    against = {} if "baseline_value" in settings else {"baseline": "sgd", "relative": True}
    given = {"kind": kind, "quantity": quantity, "source": "measurements", "methods": "gam", **against, **settings}
    return build(CLAIMS, given).decide(tables)


SGD = {0: 1.0, 1: 1.02, 2: 0.99}
FLATTER = {0: 0.9, 1: 0.901 * 1.02, 2: 0.899 * 0.99}  # by 10.5 % in logarithms, with some spread


@pytest.mark.parametrize("quantity", ["first_order_flatness", "relative_zeroth_order_flatness"])
@pytest.mark.parametrize(
    ("own", "base", "decision"),
    [
        (0.0, 0.0, "supported"),
        (0.09, 0.0, "supported"),
        (0.12, 0.0, "inconclusive"),  # more than the margin
        (0.09, 0.5, "supported"),  # what was missed of the baseline only makes the difference larger
        (0.12, 0.12, "inconclusive"),  # nothing says that both missed as much
    ],
)
def test_a_margin_below_the_shortfall_decides_nothing(make_tables, quantity, own, base, decision):
    tables = tables_with(make_tables, {"sgd": SGD, "gam": FLATTER}, {"gam": own, "sgd": base}, quantity)
    verdict = decide("lower_value", tables, quantity)
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(-10, rel=1e-3)
    assert verdict.reason[0].kind == ("sides" if decision == "supported" else "within_shortfall")
    if decision == "inconclusive":
        (changed,) = verdict.reason[0].values["changed"]
        assert changed[0] == pytest.approx(100 * (0.9 * (1 + own) - 1), abs=0.01)
        assert "ascents may miss part of a maximum" in worded(verdict.reason)


def test_the_same_of_a_contradiction(make_tables):
    tables = tables_with(make_tables, {"sgd": SGD, "gam": FLATTER}, {"gam": 0.12, "sgd": 0}, "first_order_flatness")
    assert decide("higher_value", tables).decision == "inconclusive"
    tables = tables_with(make_tables, {"sgd": SGD, "gam": FLATTER}, {"gam": 0.09, "sgd": 0.5}, "first_order_flatness")
    assert decide("higher_value", tables).decision == "contradicted"


@pytest.mark.parametrize(("own", "base"), [(0.02, 0.0), (0.0, 0.02)])
def test_a_margin_of_similarity_is_tried_on_both_sides(make_tables, own, base):
    def verdict(margin):
        tables = tables_with(make_tables, {"sgd": SGD, "gam": SGD}, {"gam": own, "sgd": base}, "first_order_flatness")
        return decide("similar_value", tables, margin=margin)

    assert verdict(0.03).decision == "supported"
    assert verdict(0.01).decision == "inconclusive"


@pytest.mark.parametrize(
    ("quantity", "kind", "value", "error", "decision"),
    [
        ("one_step_ratio", "higher_value", 0.95, 0.04, "supported"),
        ("one_step_ratio", "higher_value", 0.95, 0.07, "inconclusive"),
        ("one_step_ratio", "lower_value", 0.85, 0.5, "supported"),  # it can only be lower
        ("first_order_exponent", "lower_value", 0.8, 0.1, "supported"),
        ("first_order_exponent", "lower_value", 0.8, 0.2, "inconclusive"),
        ("first_order_exponent", "higher_value", 1.0, 0.2, "inconclusive"),
        ("trace", "higher_value", 0.95, 0.5, "supported"),  # its error is none of ascents
    ],
)
def test_what_follows_from_ascents_moves_as_they_would(make_tables, quantity, kind, value, error, decision):
    values = {0: value, 1: 1.001 * value, 2: 0.999 * value}
    tables = tables_with(make_tables, {"gam": values}, {"gam": error}, quantity)
    assert decide(kind, tables, quantity, baseline_value=0.9).decision == decision


def test_a_single_ascent_tells_no_shortfall(make_tables):
    tables = tables_with(make_tables, {"sgd": SGD, "gam": FLATTER}, {"gam": NAN, "sgd": 0}, "first_order_flatness")
    verdict = decide("lower_value", tables)
    assert verdict.decision == "supported"
    assert "3 values of first order flatness from a single ascent" in worded(verdict.reason)


def test_what_did_not_converge_is_named(make_tables):
    def verdict(converged):
        more = [(*CELL, "gam", seed, 20, 2.0, "converged", -1, NAN, converged, NAN, "flatness") for seed in (0, 1)]
        more += [(*CELL, "gam", 2, 20, 2.0, "converged", -1, NAN, 0.0, NAN, "other")]
        values, errors = {"sgd": SGD, "gam": FLATTER}, {"gam": 0.0, "sgd": 0.0}
        return decide("lower_value", tables_with(make_tables, values, errors, "sharpness", more), "sharpness")

    assert "sharpness of 2 networks had not settled" in worded(verdict(0.0).reason)
    assert "settled" not in worded(verdict(1.0).reason)
