"""Checks and claims on the bits of two trainings, made by hand."""

import pytest

from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.registry import build
from boundcheck.report.reasons import worded

LATENT = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.1}
X4 = LATENT | {"init_scale": 4.0, "lr": 0.4, "weight_decay": 0.025}
X4_FORM_2 = LATENT | {"init_scale": 4.0, "lr": 1.6, "weight_decay": 0.00625}
SECOND = {"filter": {"kind": "mapped_filter", "latent": LATENT}, "rescaled": X4, "rescaled_form_2": X4_FORM_2}
SEEDS, STEPS, WEIGHTS = (0, 1, 2), 40, 21


def same_bits(relation="filter"):
    return build(CHECKS, {"kind": "same_bits", "relations": [relation]})


def pair(made, relation="filter", change=None, **settings):
    """A latent training and its twin; `change` is a bit that differs for seed 1."""
    for seed in SEEDS:
        bits = made.random_bits(seed)
        other = bits.copy()
        if change is not None and seed == 1:
            other[change] ^= 1
        made.run("a", LATENT, bits, seed=seed, **settings)
        made.run("b", SECOND[relation], other, seed=seed, **settings)
    return made.tables()


def agree(tables, relation="filter"):
    """The verdict of a claim on the check's rows."""
    checks = same_bits(relation).rows(tables).assign(check="c")
    claim = build(CLAIMS, {"kind": "bits_agree", "check": "c", "relations": [relation]})
    return claim.decide(tables._replace(checks=checks))


def differ(tables, *relations, **settings):
    return build(CLAIMS, {"kind": "bits_differ", "relations": list(relations), **settings}).decide(tables)


def test_equal_bits_hold_with_a_row_for_every_seed(made):
    rows = same_bits().rows(pair(made))
    assert len(rows) == len(SEEDS)
    assert set(rows["method"]) == {"a | b"}
    assert (rows["measured"] == 0).all()
    assert rows["holds"].all()
    assert (rows["step"] == STEPS).all()


def test_a_single_bit_violates_it(made):
    """The bound is 0, so there is no stronger one to test it by: one bit of one step is the smallest violation."""
    rows = same_bits().rows(pair(made, change=(17, 20))).set_index("seed")
    assert rows["holds"].tolist() == [True, False, True]
    assert rows["measured"][1] == pytest.approx(1 / ((STEPS + 1) * WEIGHTS))
    assert rows["step"].tolist() == [STEPS, 17, STEPS]


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"precision": "float32"}},
        {"model_spec": {"scaling": "form_2", "batch_norm_eps": 1e-30}},
        {"model_spec": {"scaling": "form_1", "batch_norm_eps": 1e-30}},
        {"model_spec": {"scaling": "form_1_dyadic"}},
        {"model_spec": {"weight_gradient": "clipped"}},
    ],
    ids=["float32", "form 2", "form 1", "ϵ that feels the scale", "clipped gradient"],
)
def test_a_failed_premise_is_no_violation(made, settings):
    tables = pair(made, change=(17, 20), **settings)
    rows = same_bits().rows(tables)
    assert len(rows) == len(SEEDS)
    assert not rows["premise_holds"].any()
    assert rows["holds"].isna().all()
    assert agree(tables).decision == "vacuous"


@pytest.mark.parametrize(
    ("relation", "scalings"),
    [
        ("filter", {"none", "form_1_dyadic"}),
        ("rescaled", {"none", "form_1", "form_1_dyadic"}),  # compares equal roundings
        ("rescaled_form_2", {"form_2"}),
    ],
)
@pytest.mark.parametrize("scaling", ["none", "form_1", "form_1_dyadic", "form_2"])
def test_what_is_stated_of_scaled_layers(made, relation, scalings, scaling):
    tables = pair(made, relation, model_spec={"scaling": scaling, "batch_norm_eps": 1e-30})
    assert same_bits(relation).rows(tables)["premise_holds"].eq(scaling in scalings).all()
    felt = pair(type(made)(), relation, model_spec={"scaling": scaling, "batch_norm_eps": 1e-5})
    assert same_bits(relation).rows(felt)["premise_holds"].eq(scaling in scalings and scaling == "none").all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_powers_of_two_need_no_double_precision(made, precision):
    rows = same_bits("rescaled").rows(pair(made, "rescaled", training={"precision": precision}))
    assert rows["premise_holds"].all()


@pytest.mark.parametrize(("largest", "premise"), [(0.9, True), (1.0, False), (None, False)])
def test_clipping_is_harmless_where_it_was_never_active(made, largest, premise):
    curves = [("largest_latent", 10, 1.0, largest / 2), ("largest_latent", 20, 2.0, largest)] if largest else []
    made.run("a", LATENT | {"clip": True}, made.random_bits(), curves)
    made.run("b", SECOND["filter"], made.random_bits())
    assert same_bits().rows(made.tables())["premise_holds"].tolist() == [premise]


def test_nothing_to_compare(made):
    made.run("a", LATENT, made.random_bits())
    assert len(same_bits().rows(made.tables())) == 0
    assert differ(made.tables(), "filter").decision == "not run"
    made.run("b", SECOND["filter"])  # which recorded no bits
    verdict = differ(made.tables(), "filter")
    assert verdict.decision == "not run"
    assert worded(verdict.reason) == "no pair has the bits of both"


@pytest.mark.parametrize(("change", "decision"), [(None, "supported"), ((17, 20), "contradicted")])
def test_bits_agree_says_what_was_compared(made, change, decision):
    verdict = agree(pair(made, change=change))
    assert verdict.decision == decision
    assert verdict.effect == (change is not None)
    assert verdict.num_runs == len(SEEDS)
    assert verdict.cells[0]["bits that differ"] == (change is not None)
    assert verdict.cells[0]["premise"] == "holds"
    assert verdict.cells[0]["precision"] == "float64"
    assert verdict.cells[0]["recorded steps"] == STEPS
    assert f"{3 * STEPS} recorded steps of 3 pairs" in worded(verdict.reason)


def test_pairs_whose_premise_fails_decide_nothing(made):
    pair(made)
    tables = pair(made, change=(17, 20), model="float32", training={"precision": "float32"})
    verdict = agree(tables)
    assert verdict.decision == "supported"
    assert verdict.effect == 0
    assert {row["model"]: row["premise"] for row in verdict.cells} == {"mlp": "holds", "float32": "fails"}
    assert worded(verdict.reason).endswith("; 3 more, whose premise fails, decide nothing")


def test_without_a_check_or_bits_nothing_agrees(made):
    tables = pair(made)
    claim = build(CLAIMS, {"kind": "bits_agree", "check": "c", "relations": ["filter"]})
    assert claim.decide(tables).decision == "not run"
    without_bits = tables._replace(arrays=lambda *names: {})
    assert agree(without_bits).decision == "not run"


def test_an_arm_of_another_role_changes_nothing(made):
    tables = pair(made)
    before = agree(tables)
    pair(made, change=(17, 20), model="arm", roles=["control"])
    after = agree(made.tables())
    assert (after.decision, after.effect, repr(after.cells)) == (before.decision, before.effect, repr(before.cells))


def test_bits_differ(made):
    for seed in SEEDS:
        bits = made.random_bits(seed)
        made.run("a", LATENT, bits, seed=seed)
        bits[10 + seed :, :7] ^= 1
        made.run("b", SECOND["filter"], bits, seed=seed)
    verdict = differ(made.tables(), "filter")
    assert verdict.decision == "supported"
    assert "first at steps 10 to 12" in worded(verdict.reason)
    assert verdict.effect == pytest.approx(100 / 3)
    row = verdict.cells[0]
    assert row["bits that differ"] == 7 * sum(STEPS + 1 - 10 - seed for seed in SEEDS)
    assert row["first at step"] == 10
    flips = sum(int((made.random_bits(seed)[1:] != made.random_bits(seed)[:-1]).sum()) for seed in SEEDS)
    assert row["flips"] == flips
    assert verdict.figures[0].data["y"].max() == pytest.approx(100 / 3)


def test_bits_that_never_differ(made):
    tables = pair(made)
    assert differ(tables, "filter").decision == "contradicted"
    assert differ(tables, "filter", everywhere=False).decision == "inconclusive"  # what can be need not have been
    tables = pair(made, change=(17, 20), model="other", model_spec={"scaling": "form_2"})
    assert differ(tables, "filter").decision == "inconclusive"
    assert differ(tables, "filter", everywhere=False).decision == "supported"
    assert differ(tables, "filter", models={"scaling": "none"}).decision == "contradicted"


@pytest.mark.parametrize(("largest", "decision"), [(1.0, "contradicted"), (0.9, "not run")])
def test_a_clipping_that_changed_nothing_ends_no_equivalence(made, largest, decision):
    made.run("a", LATENT, made.random_bits())
    made.run("b", LATENT | {"clip": True}, made.random_bits(), [("largest_latent", 20, 2.0, largest)])
    assert differ(made.tables(), "clipped").decision == decision


@pytest.mark.parametrize(
    ("relations", "message"),
    [(["clipped"], "relations: got clipped; allowed: filter, rescaled"), (["twin"], "relations")],
)
def test_relations_that_state_no_equality_are_refused(relations, message):
    with pytest.raises(ValueError, match=message):
        build(CHECKS, {"kind": "same_bits", "relations": relations})
