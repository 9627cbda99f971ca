"""Comparisons of models."""

from __future__ import annotations

import pandas as pd
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


@pytest.mark.parametrize(("factor", "decision"), [(1.009, "supported"), (1.011, "inconclusive")])
def test_models_that_differ_in_what_should_be_equal_are_not_compared(tables, factor, decision):
    other = tables.curves.assign(quantity="train_loss", value=0.5)
    other.loc[other["model"] == "wn_b", "value"] *= factor
    tables = tables._replace(curves=pd.concat([tables.curves, other], ignore_index=True))
    claim = LowerModelValue(**TEXT, only_methods=["gd"], relative=True, at_equal="train_loss")
    verdict = claim.decide(tables)
    assert verdict.decision == decision
    assert [cell["train loss (%)"] for cell in verdict.cells] == pytest.approx([0, 100 * (factor - 1)])
    assert [cell["decision"] for cell in verdict.cells] == ["supported", decision]
    assert ("mnist/gd/wn_b by +1.1 %, more than 1 %" in verdict.reason) == (decision == "inconclusive")


def test_what_should_be_equal_must_be_known(tables):
    claim = LowerModelValue(**TEXT, only_methods=["gd"], relative=True, at_equal="train_loss")
    assert claim.decide(tables).decision == "inconclusive"
    with pytest.raises(ValueError, match="within: got -1"):
        LowerModelValue(**TEXT, within=-1)
