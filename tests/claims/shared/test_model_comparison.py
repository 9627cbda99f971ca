"""Comparisons of models."""

from __future__ import annotations

import pandas as pd
import pytest

from boundcheck.claims.shared.model_comparison import HigherModelValue, LowerModelValue
from boundcheck.contracts import NAN

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


@pytest.fixture
def courses(make_tables):
    """Norms (2 − loss)², of wn `factor` times that and a hundredth more for each seed; wn is slower than twin."""

    def courses(factor, losses=None):
        losses = {"wn": (1.0, 0.7, 0.5), "twin": (1.0, 0.4, 0.1)} | (losses or {})
        tables = make_tables({("mnist", model, "gd"): dict.fromkeys(range(3), 0.0) for model in losses})
        rows = [
            ("mnist", model, "gd", seed, 10 * epoch, float(epoch), name, -1, NAN, value, NAN)
            for model, course in losses.items()
            for seed in range(3)
            for epoch, loss in enumerate(course)
            for name, value in (
                ("full_train_loss", loss),
                ("norm", (factor + 0.01 * seed if model == "wn" else 1) * (2 - loss) ** 2),
            )
        ]
        curves = pd.DataFrame(rows, columns=tables.curves.columns)
        measured = curves[curves["quantity"] == "norm"].assign(analysis="a")
        return tables._replace(curves=curves[curves["quantity"] != "norm"], measurements=measured)

    return courses


AT_EQUAL = TEXT | {"quantity": "norm", "source": "measurements", "relative": True, "at_equal_loss": True}


def test_at_equal_loss_a_course_is_read_where_the_slower_one_ends(courses):
    """At the end the norm of wn is far lower, for it has learned less; at equal loss it is higher."""
    tables = courses(1.1)
    assert LowerModelValue(**(AT_EQUAL | {"at_equal_loss": False})).decide(tables).decision == "supported"
    verdict = LowerModelValue(**AT_EQUAL).decide(tables)
    assert verdict.decision == "contradicted"
    (figure,) = verdict.figures
    assert "from twin, at equal training loss: mean" in figure.caption
    twin = 1 + (1.6**2 - 1) * (1 - 0.5) / (1 - 0.4)  # linear in the loss
    mean = (1.1 * 1.11 * 1.12) ** (1 / 3)
    assert verdict.effect == pytest.approx(100 * (mean * 1.5**2 / twin - 1))
    assert [cell["training loss"] for cell in verdict.cells] == pytest.approx([0.5])


def test_where_one_starts_below_what_the_other_reaches_nothing_is_compared(courses):
    verdict = LowerModelValue(**AT_EQUAL).decide(courses(0.5, {"twin": (0.3, 0.2, 0.1)}))
    assert (verdict.decision, verdict.cells) == ("not run", [])


@pytest.mark.parametrize(("limit", "decision"), [(0.5, "supported"), (0.49, "inconclusive")])
@pytest.mark.parametrize("at_equal_loss", [True, False])
def test_what_was_hardly_trained_is_not_compared(courses, limit, decision, at_equal_loss):
    claim = LowerModelValue(**(AT_EQUAL | {"loss_at_most": limit, "at_equal_loss": at_equal_loss}))
    verdict = claim.decide(courses(0.5))
    assert verdict.decision == decision
    reason = f"hardly trained: the training loss is 0.5 on mnist/gd/wn, above {limit:g}"
    assert (reason in verdict.reason) == (decision == "inconclusive")
    assert [cell["decision"] for cell in verdict.cells] == [decision]
    assert [cell["training loss"] for cell in verdict.cells] == pytest.approx([0.5])


def test_a_training_loss_that_nobody_recorded_is_above_every_limit(courses):
    tables = courses(0.5)
    known = tables.curves["model"] != "twin"
    claim = LowerModelValue(**(AT_EQUAL | {"loss_at_most": 9.0, "at_equal_loss": False}))
    assert claim.decide(tables._replace(curves=tables.curves[known])).decision == "inconclusive"


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="loss_at_most: got 0"):
        LowerModelValue(**TEXT, loss_at_most=0)
    with pytest.raises(ValueError, match="at: got 0; allowed: last"):
        LowerModelValue(**TEXT, at_equal_loss=True, at=0)
