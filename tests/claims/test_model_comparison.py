"""Comparisons of models."""

from __future__ import annotations

import pytest

from boundcheck.claims.model_comparison import HigherModelValue, LowerModelValue

TEXT = {"statement": "s", "reference": "r", "quantity": "loss", "models": ["wn*"], "baseline_model": "twin"}
VALUES = {"wn_a": (1.0, 1.1, 1.2), "wn_b": (1.1, 1.2, 1.3), "twin": (2.0, 2.1, 2.2), "other": (0.0, 0.0, 0.0)}


@pytest.fixture
def tables(make_tables):
    return make_tables(
        {("mnist", model, "gd"): dict(enumerate(values)) for model, values in VALUES.items()}
        | {("mnist", model, "adam"): dict.fromkeys(range(3), 3.0) for model in ("wn_a", "twin")},
        quantity="loss",
    )


def test_lower_and_higher(tables):
    verdict = LowerModelValue(**TEXT, only_methods=["gd"]).decide(tables)
    assert verdict.decision == "inconclusive"  # all differences are equal, so they have no spread
    assert verdict.effect == pytest.approx(-0.95)
    assert [(cell["model"], cell["method"]) for cell in verdict.cells] == [("wn_a", "gd"), ("wn_b", "gd")]
    relative = LowerModelValue(**TEXT, only_methods=["gd"], relative=True)
    assert relative.decide(tables).decision == "supported"
    assert HigherModelValue(**TEXT, only_methods=["gd"], relative=True).decide(tables).decision == "contradicted"


def test_every_method_that_both_have_counts(tables):
    verdict = LowerModelValue(**TEXT, relative=True).decide(tables)
    assert {(cell["model"], cell["method"]) for cell in verdict.cells} == {
        ("wn_a", "gd"), ("wn_a", "adam"), ("wn_b", "gd")
    }  # fmt: skip


def test_what_is_not_there(tables):
    assert LowerModelValue(**TEXT, only_methods=["sgd"]).decide(tables).decision == "not run"
    assert LowerModelValue(**(TEXT | {"baseline_model": "none"})).decide(tables).decision == "not run"


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="source: got 'checks'"):
        LowerModelValue(**TEXT, source="checks")
    with pytest.raises(ValueError, match="methods: got"):
        LowerModelValue(**(TEXT | {"models": []}))
