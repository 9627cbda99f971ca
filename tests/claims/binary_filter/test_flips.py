"""The flip ratio of runs made by hand beside the formula."""

import numpy as np
import pytest

from boundcheck.claims import CLAIMS
from boundcheck.claims.binary_filter.flips import predicted_ratios
from boundcheck.registry import build
from boundcheck.report.reasons import worded
from boundcheck.theory.binary_filter import flips as theory

FILTER = {"kind": "gradient_filter", "alpha": 0.02, "gamma": 0.3}
LATENT = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.1}
SEEDS = (0, 1, 2)


def decided(made, **settings):
    return build(CLAIMS, {"kind": "flip_ratio_formula", **settings}).decide(made.tables())


def flipping(made, ratio, name="only"):
    predicted = theory.scheduled_flip_ratio(np.full(60, 0.02), 0.3).reshape(6, 10).mean(1)
    for seed in SEEDS:
        curves = []
        for epoch, value in enumerate(predicted, 1):
            counts = 2 <= epoch < len(predicted)  # the first epoch and the last evaluation do not
            measured = value * ratio * (1 + 0.02 * seed) * (1.0 if counts else 50.0)
            curves += [("flip_ratio", 10 * epoch, float(epoch), measured, i) for i in (-1, 0, 1)]
            curves += [("lr_factor", 10 * epoch, float(epoch), 1.0), ("gradient_rms", 10 * epoch, float(epoch), 0.01)]
        made.run(name, FILTER, curves=curves, seed=seed)
    return decided(made)


def constant_flips(factors=(1.0, 1.0, 1.0), indices=(-1,)):
    """0.1 at three epochs of ten steps."""
    return [
        row
        for epoch, factor in enumerate(factors, 1)
        for row in (
            ("lr_factor", 10 * epoch, float(epoch), factor),
            ("gradient_rms", 10 * epoch, float(epoch), 0.01),
            *(("flip_ratio", 10 * epoch, float(epoch), 0.1, i) for i in indices),
        )
    ]


@pytest.mark.parametrize(
    ("ratio", "decision"),
    [(1.0, "supported"), (1.7, "supported"), (3.0, "contradicted"), (1.99, "inconclusive")],
)
def test_flip_ratio_is_compared_up_to_a_factor(made, ratio, decision):
    verdict = flipping(made, ratio)
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(ratio * 1.02, rel=1e-3)
    data = verdict.figures[0].data
    assert set(data["series"]) == {"all layers", "layer 0", "layer 1"}
    assert set(data.loc[data["role"] == "formula", "series"]) == {"all layers"}
    measured = data[(data["role"] == "measured") & (data["x"] == 3)].set_index("series")["y"]
    predicted = data[(data["role"] == "formula") & (data["x"] == 3)]["y"].item()
    assert measured["layer 1"] == measured["all layers"] == pytest.approx(1.02 * ratio * predicted)


def test_a_cell_far_beyond_the_factor_is_not_averaged_away(made):
    for name, ratio in (("near", 1.0), ("low", 0.9), ("far", 3.0)):
        flipping(made, ratio, name)
    verdict = decided(made)
    assert verdict.high < 2
    assert verdict.decision == "inconclusive"
    assert "in 2 of 3 cells; beyond it with their intervals: digits/mlp/far" in worded(verdict.reason)


def test_every_layer_of_every_network_is_shown_and_what_has_no_formula_is_named(made):
    curves = constant_flips(indices=(-1, 0, 1))
    for model in ("mlp", "other"):
        for number in range(8):
            made.run(f"filter_{number}", FILTER, curves=curves, model=model)
        made.run("adam", {"kind": "latent_adam", "lr": 0.1}, curves=curves, model=model)
    verdict = decided(made)
    assert worded(verdict.reason).endswith("left out, as there is no formula: digits/mlp/adam, digits/other/adam")
    assert [figure.data["panel"].nunique() for figure in verdict.figures] == [8, 8]
    assert ["mlp" in verdict.figures[0].caption, "other" in verdict.figures[1].caption] == [True, True]


def test_a_method_without_a_formula_on_one_network_is_named_there(made):
    """Layers of form 2 have none; a run that recorded no flips has nothing to leave out."""
    made.run("filter", FILTER, curves=constant_flips())
    made.run("filter", FILTER, curves=constant_flips(), model="scaled", model_spec={"scaling": "form_2"})
    made.run("filter", FILTER, model="silent")
    made.run("not_selected", LATENT, curves=constant_flips(), model="scaled", model_spec={"scaling": "form_2"})
    verdict = decided(made, methods={"kind": "gradient_filter"})
    assert worded(verdict.reason).endswith("of 1 cell; left out, as there is no formula: digits/scaled/filter")


def test_of_trainings_with_equal_bits_one_counts(made):
    made.run("latent", LATENT, curves=constant_flips())
    made.run("x4", LATENT | {"init_scale": 4.0, "lr": 0.4, "weight_decay": 0.025}, curves=constant_flips())
    made.run("mapped", {"kind": "mapped_filter", "latent": LATENT}, curves=constant_flips())
    made.run("started_larger", LATENT | {"init_scale": 4.0}, curves=constant_flips())
    assert [cell["method"] for cell in decided(made).cells] == ["latent", "started_larger"]


def test_a_long_run_is_predicted_to_its_end(made):
    last = 120_000
    curves = [
        (name, step, e, value, -1)
        for step, e in ((60_000, 1.0), (last, 2.0), (last + 10, 3.0))
        for name, value in (("flip_ratio", 0.1), ("lr_factor", 1.0), ("gradient_rms", 0.01))
    ]
    made.run("filter", FILTER, curves=curves)
    stationary = theory.flip_ratio(theory.second_order_correlation(0.02, 0.3))
    assert decided(made).cells[0]["predicted"] == pytest.approx(stationary, rel=1e-9)


FACTORS = np.linspace(1.0, 0.2, 50)


def predicted(made, model=None, **method):
    made.run("latent", LATENT | method, model_spec={"init_scale": 0.3, **(model or {})})
    run = made.tables().runs.iloc[-1]
    return predicted_ratios({"method": run["method_spec"], "model": run["model_spec"]}, FACTORS, 0.2)


def test_the_start_enters_in_units_of_the_gradient(made):
    """Latent weights U(−0.6, 0.6) have variance 0.12, that of a gradient is 0.04; the inertia is 0.1 w."""
    expected = theory.scheduled_sgd_flip_ratio(0.01 * FACTORS, start_variance=0.03)
    np.testing.assert_allclose(predicted(made, init_scale=2.0), expected, rtol=1e-12)


def test_a_start_of_zero_has_no_variance(made):
    expected = theory.scheduled_sgd_flip_ratio(0.01 * FACTORS)
    np.testing.assert_allclose(predicted(made, {"init": "zero"}), expected, rtol=1e-12)
    np.testing.assert_allclose(predicted(made, {"init_scale": 1e-9})[1:], expected[1:], rtol=1e-6)


@pytest.mark.parametrize("layers", [{"scaling": "form_2"}, {"weight_gradient": "clipped"}])
def test_layers_that_change_the_gradient_have_no_formula(made, layers):
    assert predicted(made, layers) is None
    assert predicted(made, {"scaling": "form_1"}) is not None


def test_flip_ratio_not_recorded(made):
    made.run("filter", FILTER)
    verdict = decided(made)
    assert verdict.decision == "not run"
    assert worded(verdict.reason) == "no finished run has a flip_ratio"


def test_a_factor_that_allows_nothing_is_refused():
    with pytest.raises(ValueError, match=r"factor: got 1"):
        build(CLAIMS, {"kind": "flip_ratio_formula", "factor": 1.0})
