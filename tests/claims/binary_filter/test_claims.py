"""Claims of the binary-filter paper on bits, flips and accuracies made by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.claims.binary_filter.bits import BitsAgree, BitsDiffer, SameBits
from boundcheck.claims.binary_filter.flips import FlipRatioFormula, predicted_ratios
from boundcheck.claims.binary_filter.frequency_response import FrequencyResponse, ReplayedMappings
from boundcheck.claims.binary_filter.init import InitDelays
from boundcheck.claims.binary_filter.product import ActThroughProduct
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.contracts import NAN
from boundcheck.theory.binary_filter import flips as theory
from boundcheck.theory.binary_filter.fade import extra_fade_steps
from boundcheck.verdicts import Tables

CELL = ["dataset", "model", "method"]
MODEL = {"kind": "binary_mlp", "depth": 1, "width": 4}
LATENT = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.1}
SEEDS, STEPS, WEIGHTS = (0, 1, 2), 40, 21
TRAINING = {"precision": "float64", "lr_schedule": "constant", "warmup_epochs": 0, "epochs": 2}


def random_bits(seed=0, steps=STEPS):
    """(T+1, n) of 0 and 1."""
    return np.random.default_rng(seed).integers(0, 2, (steps + 1, WEIGHTS))


class Made:
    """Tables that grow by runs."""

    def __init__(self):
        self.curves, self.runs, self.bits = [], [], {}

    def run(self, method, spec, bits=None, curves=(), seed=0, model="mlp", training=None, model_spec=None):
        cell = ("digits", model, method)
        specs = (spec, model_spec or MODEL, TRAINING | (training or {}))
        self.runs.append((*cell, seed, "done", "", *specs))
        for quantity, step, epoch, value, *index in curves:
            self.curves.append((*cell, seed, step, epoch, quantity, index[0] if index else -1, NAN, value, NAN))
        if bits is not None:
            packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
            arrays = {"bits": packed, "steps": np.arange(len(bits)), "num_weights": np.array(WEIGHTS)}
            self.bits.setdefault(cell, {})[seed] = arrays

    def tables(self):
        columns = [*CELL, "seed", "status", "reason", "method_spec", "model_spec", "training"]
        return Tables(
            curves=pd.DataFrame(self.curves, columns=[*CELL, *schemas.TIDY.names]),
            measurements=pd.DataFrame(columns=[*CELL, *schemas.MEASUREMENTS.names]),
            checks=pd.DataFrame(columns=schemas.CHECKS.names),
            runs=pd.DataFrame(self.runs, columns=columns),
            skipped=pd.DataFrame(columns=[*CELL, "reason"]),
            arrays=lambda *cell_and_name: self.bits.get(cell_and_name[:3], {}),
        )


@pytest.fixture
def made():
    return Made()


PAIRS = [["a", "b"]]


def pair(made, change=None, **settings):
    for seed in SEEDS:
        bits = random_bits(seed)
        other = bits.copy()
        if change is not None and seed == 1:
            other[change] ^= 1
        made.run("a", settings.pop("a", LATENT), bits, seed=seed, **settings)
        made.run("b", LATENT, other, seed=seed, **settings)
    return made.tables()


def decided(check, tables):
    checks = check.rows(tables).assign(check="c")
    return TheoremHolds("c", "s", "r").decide(tables._replace(checks=checks))


def test_equal_bits_hold_with_a_row_for_every_seed(made):
    tables = pair(made)
    found = SameBits(PAIRS).rows(tables)
    assert len(found) == len(SEEDS)
    assert (found["measured"] == 0).all()
    assert found["holds"].all()
    assert (found["step"] == STEPS).all()
    assert decided(SameBits(PAIRS), tables).decision == "supported"


def test_a_single_bit_violates_it(made):
    """The bound is 0, so there is no stronger one to test it by: one bit of one step is the smallest violation."""
    tables = pair(made, change=(17, 20))
    found = SameBits(PAIRS).rows(tables).set_index("seed")
    assert found["holds"].tolist() == [True, False, True]
    assert found["measured"][1] == pytest.approx(1 / ((STEPS + 1) * WEIGHTS))
    assert found["step"].tolist() == [STEPS, 17, STEPS]
    assert decided(SameBits(PAIRS), tables).decision == "contradicted"


@pytest.mark.parametrize("other", [{"epochs": 3}, {"batch_size": 20}, {"lr_schedule": "cosine"}, {"warmup_epochs": 1}])
def test_trainings_whose_steps_are_others_are_no_pair(made, other):
    made.run("a", LATENT, random_bits())
    made.run("b", LATENT, random_bits(), training=other)
    (key,) = other
    with pytest.raises(ValueError, match=rf"^pairs: got digits/mlp/a \| b with {key} .* and {other[key]}; allowed: "):
        SameBits(PAIRS).rows(made.tables())


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"precision": "float32"}},
        {"model_spec": MODEL | {"scaling": "form_2"}},
        {"model_spec": MODEL | {"scaling": "form_1"}},
        {"model_spec": MODEL | {"weight_gradient": "clipped"}},
    ],
    ids=["float32", "form 2", "form 1", "clipped gradient"],
)
def test_a_failed_premise_is_no_violation(made, settings):
    tables = pair(made, change=(17, 20), **settings)
    found = SameBits(PAIRS).rows(tables)
    assert not found["premise_holds"].any()
    assert found["holds"].isna().all()
    assert decided(SameBits(PAIRS), tables).decision == "vacuous"


@pytest.mark.parametrize(("epsilon", "premise"), [(1e-30, True), (1e-5, False)])
@pytest.mark.parametrize("scaling", ["form_1_dyadic", "form_2"])
def test_scaled_layers_need_a_normalisation_that_feels_no_scale(made, scaling, epsilon, premise):
    tables = pair(made, model_spec=MODEL | {"scaling": scaling, "batch_norm_eps": epsilon})
    assert SameBits(PAIRS, scaling=scaling).rows(tables)["premise_holds"].eq(premise).all()
    assert not SameBits(PAIRS, scaling=scaling).rows(pair(Made()))["premise_holds"].any()


def test_form_1_is_stated_for_equal_roundings_alone(made):
    tables = pair(made, model_spec=MODEL | {"scaling": "form_1", "batch_norm_eps": 1e-30})
    assert SameBits(PAIRS, scaling="form_1", needs_float64=False).rows(tables)["premise_holds"].all()
    assert not SameBits(PAIRS, scaling="form_1_dyadic").rows(tables)["premise_holds"].any()


@pytest.mark.parametrize(("settings", "holds"), [({"training": {"precision": "float32"}}, True), ({}, True)])
def test_powers_of_two_need_no_double_precision(made, settings, holds):
    found = SameBits(PAIRS, needs_float64=False).rows(pair(made, **settings))
    assert found["premise_holds"].all()


@pytest.mark.parametrize(("largest", "premise"), [(0.9, True), (1.5, False)])
def test_clipping_is_harmless_where_it_was_never_active(made, largest, premise):
    curves = [("largest_latent", 10, 1.0, largest / 2), ("largest_latent", 20, 2.0, largest)]
    made.run("a", LATENT | {"clip": True}, random_bits(), curves)
    made.run("b", LATENT, random_bits())
    assert SameBits(PAIRS).rows(made.tables())["premise_holds"].tolist() == [premise]


def test_nothing_to_compare(made):
    made.run("a", LATENT, random_bits())
    assert len(SameBits(PAIRS).rows(made.tables())) == 0
    assert BitsDiffer("s", "r", PAIRS).decide(made.tables()).decision == "not run"


@pytest.mark.parametrize(("change", "decision"), [(None, "supported"), ((17, 20), "contradicted")])
def test_bits_agree_says_what_was_compared(made, change, decision):
    tables = pair(made, change=change)
    tables = tables._replace(checks=SameBits(PAIRS).rows(tables).assign(check="c"))
    verdict = BitsAgree("s", "r", "c", PAIRS).decide(tables)
    assert verdict.decision == decision
    assert verdict.effect == (change is not None)
    assert verdict.cells[0]["bits that differ"] == (change is not None)
    assert verdict.cells[0]["premise"] == "holds"
    assert verdict.cells[0]["precision"] == "float64"
    assert verdict.cells[0]["recorded steps"] == STEPS
    assert f"{3 * STEPS} recorded steps of 3 pairs" in verdict.reason
    assert ("1 rows violate it" in verdict.reason) == (change is not None)
    empty = tables._replace(arrays=lambda *names: {}, checks=tables.checks[:0])
    assert BitsAgree("s", "r", "c", PAIRS).decide(empty).decision == "not run"


def test_bits_differ(made):
    for seed in SEEDS:
        bits = random_bits(seed)
        made.run("a", LATENT, bits, seed=seed)
        bits[10 + seed :, :7] ^= 1
        made.run("b", LATENT, bits, seed=seed)
    verdict = BitsDiffer("s", "r", PAIRS).decide(made.tables())
    assert verdict.decision == "supported"
    assert "first at steps 10 to 12" in verdict.reason
    assert verdict.effect == pytest.approx(100 / 3)
    row = verdict.cells[0]
    assert row["bits that differ"] == 7 * sum(STEPS + 1 - 10 - seed for seed in SEEDS)
    assert row["first at step"] == 10
    flips = sum(int((random_bits(seed)[1:] != random_bits(seed)[:-1]).sum()) for seed in SEEDS)
    assert row["flips"] == flips
    assert verdict.figures[0].data["y"].max() == pytest.approx(100 / 3)
    made.run("a", LATENT, random_bits(), model="other")
    made.run("b", LATENT, random_bits(), model="other")
    assert BitsDiffer("s", "r", PAIRS).decide(made.tables()).decision == "inconclusive"
    assert BitsDiffer("s", "r", PAIRS, everywhere=False).decide(made.tables()).decision == "supported"
    for everywhere, decision in ((True, "contradicted"), (False, "inconclusive")):  # what can be need not have been
        nowhere = BitsDiffer("s", "r", PAIRS, models=["other"], everywhere=everywhere)
        assert nowhere.decide(made.tables()).decision == decision
    assert BitsDiffer("s", "r", PAIRS, models=["mlp"]).decide(made.tables()).decision == "supported"


def grid(made, ratio_matters=False, product_matters=True):
    """Equal products have equal bits, and accuracies that depend on the start; what is at lr 1 is of both families."""
    for family, lr in (("r", 0.5), ("r", 2.0), ("f", 0.5), ("f", 2.0), ("c", 1.0)):
        for decay in (0.02, 0.04):
            for seed in SEEDS:
                product = lr * decay if product_matters else 0.02
                bits = random_bits(int(1000 * product) + seed)
                accuracy = 0.5 + lr * decay
                if family == "f" or (ratio_matters and family == "r"):
                    bits[-1, : int(2 * lr)] ^= 1
                    accuracy += 0.01 * (lr - 1)
                scale = lr if family == "r" else 1.0
                spec = LATENT | {"lr": lr, "weight_decay": decay, "init_scale": scale}
                made.run(f"{family}_lr{lr}_wd{decay}", spec, bits, [("test_accuracy", 9, 1.0, accuracy)], seed=seed)
    return ActThroughProduct("s", "r", ["r_*", "c_*"], ["f_*", "c_*"], "c_lr1.0_wd0.02"), made.tables()


def test_product_of_learning_rate_and_decay(made):
    claim, tables = grid(made)
    verdict = claim.decide(tables)
    assert verdict.decision == "supported"
    # of each side's 15 pairs of cells two have equal products, and the pair at lr 1 is on both sides
    assert "0 bits differ between 6 pairs of runs of equal product" in verdict.reason
    assert "of 81 pairs of runs of another product or w₀/lr 81 have other bits" in verdict.reason
    assert verdict.effect == pytest.approx(1.0)  # accuracies at lr 1 and 2, 0.5 and 1: a point and half a point apart
    assert "the largest difference" in verdict.unit
    accuracy, by_product, by_centre = (
        figure.data.set_index(["panel", "series", "x"])["y"] for figure in verdict.figures
    )
    assert accuracy["w₀ ∝ lr", "0.04", 0.5] == pytest.approx(52)
    assert by_product["w₀ ∝ lr", "0.04", 0.5] == by_product["w₀ ∝ lr", "0.02", 2.0] == 100
    assert by_product["w₀ fixed", "0.04", 0.5] == pytest.approx(100 * (1 - 1 / WEIGHTS))
    assert ("w₀ ∝ lr", "0.02", 0.5) not in by_product.index  # nothing at lr 1 has its product
    assert by_centre["w₀ ∝ lr", "0.04", 0.5] == by_centre["w₀ fixed", "0.02", 1.0] == 100
    assert by_centre["w₀ ∝ lr", "0.04", 2.0] < 80


def test_product_is_contradicted_by_a_bit(made):
    claim, tables = grid(made, ratio_matters=True)
    assert claim.decide(tables).decision == "contradicted"


def test_product_says_nothing_where_other_products_do_the_same(made):
    claim, tables = grid(made, product_matters=False)
    verdict = claim.decide(tables)
    assert verdict.decision == "inconclusive"
    assert "none differs in c_lr1.0_wd0.02 | c_lr1.0_wd0.04" in verdict.reason


def test_product_without_a_grid(made):
    made.run("r_1", LATENT, random_bits())
    assert ActThroughProduct("s", "r", ["r_*"], ["f_*"], "r_1").decide(made.tables()).decision == "not run"


FILTER = {"kind": "gradient_filter", "alpha": 0.02, "gamma": 0.3}


def flipping(made, ratio, name="only"):
    predicted = theory.scheduled_flip_ratio(np.full(60, 0.02), 0.3).reshape(6, 10).mean(1)
    for seed in SEEDS:
        curves = []
        for epoch, value in enumerate(predicted, 1):
            found = value * ratio * (1 + 0.02 * seed)
            curves += [("flip_ratio", 10 * epoch, float(epoch), found, i) for i in (-1, 0, 1)]
            curves += [("lr_factor", 10 * epoch, float(epoch), 1.0), ("gradient_rms", 10 * epoch, float(epoch), 0.01)]
        spec = FILTER | {"decay": ["alpha"]}
        made.run(f"filter_{name}", spec, curves=curves, seed=seed)
    return FlipRatioFormula("s", "r", ["filter_*"]).decide(made.tables())


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
    verdict = FlipRatioFormula("s", "r", ["filter_*"]).decide(made.tables())
    assert verdict.high < 2
    assert verdict.decision == "inconclusive"
    assert "in 2 of 3 cells; beyond it with their intervals: digits/mlp/filter_far" in verdict.reason


def test_every_layer_of_every_network_is_shown_and_what_has_no_formula_is_named(made):
    adam = {"kind": "latent_adam", "lr": 0.1}
    rows = [("lr_factor", -1, 1.0), ("gradient_rms", -1, 0.01), *(("flip_ratio", i, 0.1) for i in (-1, 0, 1))]
    curves = [(name, 10 * e, float(e), value, i) for e in (1, 2, 3) for name, i, value in rows]
    for model in ("mlp", "other"):
        for number in range(8):
            made.run(f"filter_{number}", FILTER, curves=curves, model=model)
        made.run("filter_adam", adam, curves=curves, model=model)
    verdict = FlipRatioFormula("s", "r", ["filter_*"]).decide(made.tables())
    names = "digits/mlp/filter_adam, digits/other/filter_adam"
    assert verdict.reason.endswith(f"left out, as there is no formula: {names}")
    assert [figure.data["panel"].nunique() for figure in verdict.figures] == [8, 8]
    assert ["mlp" in verdict.figures[0].caption, "other" in verdict.figures[1].caption] == [True, True]


def test_a_method_without_a_formula_on_one_network_is_named_there(made):
    """Layers of form 2 have none; a run that recorded no flips has nothing to leave out."""
    rows = [("lr_factor", 1.0), ("gradient_rms", 0.01), ("flip_ratio", 0.1)]
    curves = [(name, 10 * e, float(e), value) for e in (1, 2, 3) for name, value in rows]
    made.run("filter", FILTER, curves=curves)
    made.run("filter", FILTER, curves=curves, model="scaled", model_spec=MODEL | {"scaling": "form_2"})
    made.run("filter", FILTER, model="silent")
    made.run("other", FILTER, curves=curves, model="scaled", model_spec=MODEL | {"scaling": "form_2"})
    verdict = FlipRatioFormula("s", "r", ["filter"]).decide(made.tables())
    assert verdict.reason.endswith("of 1 cells; left out, as there is no formula: digits/scaled/filter")


def test_a_long_run_is_predicted_to_its_end(made):
    last = 120_000
    curves = [
        (name, step, e, value, -1)
        for step, e in ((60_000, 1.0), (last, 2.0), (last + 10, 3.0))
        for name, value in (("flip_ratio", 0.1), ("lr_factor", 1.0), ("gradient_rms", 0.01))
    ]
    made.run("filter", FILTER, curves=curves)
    verdict = FlipRatioFormula("s", "r", ["filter"]).decide(made.tables())
    stationary = theory.flip_ratio(theory.second_order_correlation(0.02, 0.3))
    assert verdict.cells[0]["predicted"] == pytest.approx(stationary, rel=1e-9)


FACTOR = np.linspace(1.0, 0.2, 50)
SPREAD = {"kind": "binary_mlp", "init_scale": 0.3}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"kind": "bop", "gamma": 0.1}, lambda: theory.scheduled_flip_ratio(0.1 * FACTOR)),
        ({"kind": "bop", "gamma": 0.1, "decay": False}, lambda: theory.scheduled_flip_ratio(np.full(50, 0.1))),
        ({"kind": "bop", "gamma": 0.1, "threshold": 1e-3}, lambda: None),
        (FILTER, lambda: theory.scheduled_flip_ratio(0.02 * FACTOR, 0.3)),
        (FILTER | {"decay": ["gamma"]}, lambda: theory.scheduled_flip_ratio(np.full(50, 0.02), 0.3 * FACTOR)),
        (FILTER | {"delta": 0.5}, lambda: theory.scheduled_flip_ratio(0.02 * FACTOR, 0.3, 0.5)),
        (
            FILTER | {"initial_inertia": 0.5},
            lambda: theory.scheduled_flip_ratio(0.02 * FACTOR, 0.3, start_variance=0.1875, start_momentum=0.1875),
        ),
        (
            {"kind": "latent_sgd_decoupled", "lr": 0.5, "weight_decay": 0.2, "momentum": 0.6},
            lambda: theory.scheduled_flip_ratio(0.1 * FACTOR, 0.4, start_variance=0.03),
        ),
        (
            {"kind": "latent_sgd_decoupled", "lr": 0.5, "weight_decay": 0.2, "momentum": 0.6, "form": "heavy_ball"},
            lambda: theory.scheduled_flip_ratio(0.1 * FACTOR, 0.4, start_variance=0.0048),
        ),
        ({"kind": "latent_sgd_decoupled", "lr": 0.5, "weight_decay": 0.2, "hold_rate": True}, lambda: None),
        (
            LATENT | {"momentum": 0.9, "nesterov": True, "init_scale": 2.0},
            lambda: theory.scheduled_sgd_flip_ratio(0.01 * FACTOR, 0.9, nesterov=True, start_variance=0.03),
        ),
        (
            LATENT | {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.2},
            lambda: theory.scheduled_sgd_flip_ratio(0.02 * FACTOR, 0.9, 0.5, start_variance=0.03),
        ),
        (LATENT | {"weight_decay": 0.0}, lambda: None),
        (
            {"kind": "state_space_filter", "rate": 0.3, "momentum": 0.9},
            lambda: theory.scheduled_sgd_flip_ratio(0.3 * FACTOR, 0.9),
        ),
        (
            {"kind": "mapped_filter", "latent": LATENT},
            lambda: theory.scheduled_sgd_flip_ratio(0.01 * FACTOR, start_variance=0.0075),
        ),
        ({"kind": "mapped_filter", "latent": LATENT, "mapping": "product"}, lambda: None),
        (LATENT | {"clip": True}, lambda: None),
        (LATENT | {"dampening": 0.5}, lambda: theory.scheduled_sgd_flip_ratio(0.01 * FACTOR, start_variance=0.0075)),
        ({"kind": "latent_adamw", "lr": 0.1, "weight_decay": 0.1}, lambda: None),
    ],
)
def test_what_theory_predicts_of_each_method(method, expected):
    """Latent weights U(−0.3, 0.3) have variance 0.03, in units of a gradient's 0.04: 0.75."""
    found, wanted = predicted_ratios(method, SPREAD, FACTOR, 0.2), expected()
    assert (found is None) == (wanted is None)
    if wanted is not None:
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("layers", [{"scaling": "form_2"}, {"weight_gradient": "clipped"}])
def test_layers_that_change_the_gradient_have_no_formula(layers):
    assert predicted_ratios(FILTER, SPREAD | layers, FACTOR, 0.2) is None
    assert predicted_ratios(FILTER, SPREAD | {"scaling": "form_1"}, FACTOR, 0.2) is not None


def test_a_start_of_zero_has_no_variance():
    for model in ({"kind": "binary_mlp", "init": "zero"}, {"kind": "binary_mlp", "init_scale": 1e-9}):
        found = predicted_ratios(LATENT, model, FACTOR, 0.2)
        np.testing.assert_allclose(found[1:], theory.scheduled_sgd_flip_ratio(0.01 * FACTOR)[1:], rtol=1e-6)


def test_flip_ratio_not_recorded(made):
    made.run("filter", FILTER)
    assert FlipRatioFormula("s", "r", ["filter"]).decide(made.tables()).decision == "not run"


def weak_gradients(*values):
    return [("gradient_rms", 10 * epoch, float(epoch), value) for epoch, value in enumerate(values or (0.01, 0.02), 1)]


@pytest.mark.parametrize(("slow", "decision"), [(1.0, "supported"), (2.0, "contradicted")])
def test_starts_delay_by_a_logarithm(made, slow, decision):
    for scale in (1, 4, 16):
        delay = 5 + slow * float(extra_fade_steps(scale, 0.01))
        for seed in SEEDS:
            bits = np.zeros((600, WEIGHTS), dtype=int)
            bits[round(delay) + seed :, :10] = 1
            made.run(f"x{scale}", LATENT | {"init_scale": float(scale)}, bits, weak_gradients(), seed=seed)
    verdict = InitDelays("s", "r", ["x*"]).decide(made.tables())
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(slow, rel=0.02)
    rows = {row["init scale"]: row for row in verdict.cells}
    assert rows[16.0]["extra steps"] == pytest.approx(slow * math.log(16) / -math.log(0.99), abs=1)
    assert rows[16.0]["bits equal to the smallest start's at the end (%)"] == 100
    assert {"measured", "formula"} == set(verdict.figures[0].data["role"])


@pytest.mark.parametrize(("noise", "base", "named"), [(0.08, 1, ""), (0.09, 4, "1"), (0.35, 16, "1, 4"), (9.0, 0, "")])
def test_a_start_that_the_noise_outweighs_is_no_base(made, noise, base, named):
    """Starts U(−0.1 s, 0.1 s), whose root mean square 0.058 s outweighs noise up to 0.058 s √2 = 0.082 s."""
    for scale in (1, 4, 16, 64):
        for seed in SEEDS:
            bits = np.zeros((600, WEIGHTS), dtype=int)
            bits[round(5 + float(extra_fade_steps(max(scale, base), 0.01))) :, :10] = 1
            spec = LATENT | {"init_scale": float(scale)}
            made.run(f"x{scale}", spec, bits, weak_gradients(0.01, noise if seed == 1 else 0.01), seed=seed)
    verdict = InitDelays("s", "r", ["x*"]).decide(made.tables())
    if not base:
        assert verdict.decision == "not run"
        assert verdict.reason.endswith("no heavier than the gradients' noise: scale 1, 4, 16, 64")
        return
    assert verdict.decision == "supported"
    assert verdict.effect == pytest.approx(1, rel=0.02)
    assert [row["init scale"] for row in verdict.cells] == [s for s in (1.0, 4.0, 16.0, 64.0) if s >= base]
    expected = f"; no heavier than the gradients' noise: scale {named}" if named else " scales"
    assert verdict.reason.endswith(expected)


def test_without_gradients_no_start_is_known_to_be_remembered(made):
    for scale in (1.0, 4.0):
        made.run(f"x{scale}", LATENT | {"init_scale": scale}, random_bits())
    verdict = InitDelays("s", "r", ["x*"]).decide(made.tables())
    assert verdict.decision == "not run"
    assert verdict.reason == "fewer than two starts have bits and gradients that were recorded, and are remembered"


def test_frequency_responses_are_those_of_the_optimizers():
    latent = {"momentum": {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.5}}
    claim = FrequencyResponse("s", "r", {"one": [0.2], "three": [0.5, 0.3, 0.2]}, latent, steps=400)
    verdict = claim.decide(None)
    assert verdict.decision == "supported"
    assert verdict.effect < 1e-8
    assert len(verdict.cells) == 3
    short = FrequencyResponse("s", "r", {"one": [0.2]}, {}, steps=5)
    assert short.decide(None).decision == "contradicted"


NAMES = ("state_space", "scaled_alpha", "product")


@pytest.mark.parametrize(
    ("schedule", "shares", "decision"),
    [
        ("cosine", (0.0, 0.01, 0.3), "supported"),
        ("constant", (0.0, 0.0, 0.3), "supported"),
        ("constant", (0.0, 0.01, 0.3), "contradicted"),
        ("cosine", (0.001, 0.01, 0.3), "contradicted"),
        ("cosine", (0.0, 0.01, 0.0), "inconclusive"),
    ],
)
def test_replayed_mappings(made, schedule, shares, decision):
    for seed in SEEDS:
        curves = [("bits_wrong", 10 * e, float(e), share, i) for e in (1, 2) for i, share in enumerate(shares)]
        made.run("latent", LATENT, curves=curves, seed=seed, training={"lr_schedule": schedule})
    verdict = ReplayedMappings("s", "r", NAMES).decide(made.tables())
    assert verdict.decision == decision
    assert {row["mapping"]: row["bits wrong per step (%)"] for row in verdict.cells}["product"] == 100 * shares[2]
    assert ReplayedMappings("s", "r", NAMES).decide(Made().tables()).decision == "not run"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SameBits([["a"]]), "pairs: got"),
        (lambda: BitsDiffer("s", "r", []), "pairs: got"),
        (lambda: SameBits(PAIRS, scaling="form_1"), "scaling: got 'form_1'"),
        (lambda: FlipRatioFormula("s", "r", ["a"], factor=1.0), "factor: got 1"),
        (lambda: InitDelays("s", "r", ["a"], share=1.5), "share: got 1.5"),
        (lambda: FrequencyResponse("s", "r", {"x": []}, {}), "filters: allowed"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
