"""Comparisons of models: with a model of other settings, and at equal training loss."""

import pandas as pd
import pytest

from boundcheck.claims import CLAIMS
from boundcheck.contracts import NAN
from boundcheck.registry import build
from boundcheck.report.reasons import worded

VALUES = {"wn_a": (1.0, 1.1, 1.2), "wn_b": (1.1, 1.2, 1.3), "twin": (2.0, 2.1, 2.2), "other": (0.0, 0.0, 0.0)}


def claim(kind="lower_value", **settings):
    plain = {"kind": kind, "quantity": "loss", "models": "wn*", "baseline_model": "twin"}
    return build(CLAIMS, plain | settings)


@pytest.fixture
def tables(make_tables):
    return make_tables(
        {("mnist", model, "gd"): dict(enumerate(values)) for model, values in VALUES.items()}
        | {("mnist", model, "adam"): dict.fromkeys(range(3), 3.0) for model in ("wn_a", "twin")},
        quantity="loss",
    )


def test_lower_and_higher(tables):
    verdict = claim(methods="gd").decide(tables)
    assert verdict.decision == "inconclusive"  # all differences are equal, so they have no spread
    assert verdict.effect == pytest.approx(-0.95)
    assert [(cell["model"], cell["method"]) for cell in verdict.cells] == [("wn_a", "gd"), ("wn_b", "gd")]
    assert claim(methods="gd", relative=True).decide(tables).decision == "supported"
    assert claim("higher_value", methods="gd", relative=True).decide(tables).decision == "contradicted"


def test_every_method_that_both_have_counts(tables):
    verdict = claim(relative=True).decide(tables)
    assert {(cell["model"], cell["method"]) for cell in verdict.cells} == {
        ("wn_a", "gd"), ("wn_a", "adam"), ("wn_b", "gd")
    }  # fmt: skip


def test_what_is_not_there(tables):
    assert claim(methods="sgd").decide(tables).decision == "not run"
    assert claim(baseline_model="none").decide(tables).decision == "not run"


def test_each_model_has_the_twin_that_differs_in_the_named_settings_alone(make_tables):
    specs = {
        f"{name}{code}": {"kind": "autoencoder", "skips": skips, "code": code, "widths": [24, 12]}
        for name, skips in (("dag", "inside"), ("sequential", "none"))
        for code in (2, 4)
    }
    values = {
        ("digits", name, "am"): {s: 10.0 + ("dag" in name) + 0.1 * s * len(name) for s in range(3)} for name in specs
    }
    settings = {"models": {"skips": "inside"}, "baseline_model": {"skips": "none", "others": "same"}}
    verdict = claim("higher_value", **settings).decide(make_tables(values, quantity="loss", specs=specs))
    assert [(cell["model"], cell["baseline"]) for cell in verdict.cells] == [
        ("dag2", "sequential2"),
        ("dag4", "sequential4"),
    ]
    assert "difference from the baseline" in verdict.figures[0].x_label


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


def at_equal_loss(**settings):
    plain = {"quantity": "norm", "source": "measurements", "relative": True, "at_equal_loss": True}
    return claim(**(plain | settings))


def test_at_equal_loss_a_course_is_read_where_the_slower_one_ends(courses):
    """At the end the norm of wn is far lower, for it has learned less; at equal loss it is higher."""
    tables = courses(1.1)
    assert at_equal_loss(at_equal_loss=False).decide(tables).decision == "supported"
    verdict = at_equal_loss().decide(tables)
    assert verdict.decision == "contradicted"
    (figure,) = verdict.figures
    assert "from twin, at equal training loss: mean" in figure.caption
    twin = 1 + (1.6**2 - 1) * (1 - 0.5) / (1 - 0.4)  # linear in the loss
    mean = (1.1 * 1.11 * 1.12) ** (1 / 3)
    assert verdict.effect == pytest.approx(100 * (mean * 1.5**2 / twin - 1))


def test_where_one_starts_below_what_the_other_reaches_nothing_is_compared(courses):
    verdict = at_equal_loss().decide(courses(0.5, {"twin": (0.3, 0.2, 0.1)}))
    assert (verdict.decision, verdict.cells) == ("not run", ())


@pytest.mark.parametrize(("limit", "decision"), [(0.5, "supported"), (0.49, "inconclusive")])
@pytest.mark.parametrize("is_at_equal_loss", [True, False])
def test_what_was_hardly_trained_is_not_compared(courses, limit, decision, is_at_equal_loss):
    verdict = at_equal_loss(loss_at_most=limit, at_equal_loss=is_at_equal_loss).decide(courses(0.5))
    assert verdict.decision == decision
    reason = f"hardly trained: the training loss is 0.5 on mnist/wn/gd, above {limit:g}"
    assert (reason in worded(verdict.reason)) == (decision == "inconclusive")
    assert [cell["decision"] for cell in verdict.cells] == [decision]
    assert [cell["training loss"] for cell in verdict.cells] == pytest.approx([0.5])


def test_a_training_loss_that_nobody_recorded_is_above_every_limit(courses):
    tables = courses(0.5)
    known = tables.curves["model"] != "twin"
    undecided = at_equal_loss(loss_at_most=9.0, at_equal_loss=False)
    assert undecided.decide(tables._replace(curves=tables.curves[known])).decision == "inconclusive"
