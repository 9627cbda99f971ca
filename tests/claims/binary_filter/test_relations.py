"""Pairs of trainings that theory calls equal, found from their settings."""

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.claims.binary_filter.relations import one_of_equals, twins
from boundcheck.claims.shared.selection import cells_of
from boundcheck.registry import build

SGD = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.02, "momentum": 0.9}
FILTER = {"kind": "mapped_filter", "latent": SGD}
X4 = SGD | {"init_scale": 4.0, "lr": 0.4, "weight_decay": 0.005}
X4_FORM_2 = SGD | {"init_scale": 4.0, "lr": 1.6, "weight_decay": 0.00125}


def related(made, relation, second, first=SGD, **second_settings):
    made.run("first", first)
    made.run("second", second, **second_settings)
    cells = cells_of(made.tables().runs)
    return [tuple(method for *_, method in pair) for pair in twins(cells, list(cells), [relation])]


FOUND = [("first", "second")]


@pytest.mark.parametrize(
    ("relation", "second"),
    [
        ("filter", FILTER),
        ("filter", FILTER | {"mapping": "riccati"}),
        ("filter", {"kind": "mapped_filter", "latent": SGD | {"clip": True}}),
        ("wrong_filter", FILTER | {"mapping": "product"}),
        ("rescaled", X4),
        ("rescaled", SGD | {"init_scale": 2.0, "lr": 0.2, "weight_decay": 0.01}),
        ("rescaled_form_2", X4_FORM_2),
        ("clipped", SGD | {"clip": True}),
    ],
)
def test_the_second_follows_from_the_first(made, relation, second):
    assert related(made, relation, second) == FOUND


@pytest.mark.parametrize(
    ("relation", "second"),
    [
        ("filter", {"kind": "mapped_filter", "latent": SGD | {"lr": 0.2}}),
        ("filter", FILTER | {"mapping": "product"}),
        ("wrong_filter", FILTER),
        ("wrong_filter", {"kind": "mapped_filter", "latent": SGD | {"clip": True}, "mapping": "product"}),
        ("rescaled", X4 | {"lr": 0.4000001}),
        ("rescaled", X4 | {"momentum": 0.8}),
        ("rescaled", X4 | {"clip": True}),
        ("rescaled", X4_FORM_2),
        ("rescaled_form_2", X4),
        ("rescaled", {"kind": "bop", "gamma": 0.1}),
        ("clipped", X4 | {"clip": True}),
    ],
)
def test_other_trainings_are_no_pair(made, relation, second):
    assert related(made, relation, second) == []


def test_a_scale_that_is_no_power_of_two_changes_roundings(made):
    first = SGD | {"lr": 0.125, "weight_decay": 0.375}
    assert related(made, "rescaled", first | {"init_scale": 3.0, "lr": 0.375, "weight_decay": 0.125}, first) == []


@pytest.mark.parametrize("kind", ["latent_sgd", "latent_sgd_decoupled", "latent_adam", "latent_adamw"])
def test_every_latent_kind_can_be_rescaled(made, kind):
    first = {"kind": kind, "lr": 0.1, "weight_decay": 0.05}
    assert related(made, "rescaled", first | {"init_scale": 8.0, "lr": 0.8, "weight_decay": 0.00625}, first) == FOUND


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"epochs": 3}},
        {"training": {"lr_schedule": "cosine"}},
        {"training": {"batch_size": 20}},
        {"model": "b"},
    ],
)
def test_a_pair_has_one_network_and_one_training(made, settings):
    assert related(made, "rescaled", X4, **settings) == []


@pytest.mark.parametrize(("schedule", "relation"), [("constant", "filter"), ("cosine", "wrong_filter")])
def test_whether_a_mapping_is_exact_depends_on_the_schedule(made, schedule, relation):
    made.run("first", SGD, training={"lr_schedule": schedule})
    second = FILTER | {"mapping": "frozen_roots"}
    made.run("second", second, training={"lr_schedule": schedule})
    cells = cells_of(made.tables().runs)
    assert [len(list(twins(cells, list(cells), [name]))) for name in ("filter", "wrong_filter")] == [
        relation == "filter",
        relation == "wrong_filter",
    ]


def test_one_of_equals_keeps_latent_weights_near_scale_1(made):
    quarter = SGD | {"init_scale": 0.25, "lr": 0.025, "weight_decay": 0.08}
    for name, spec in (
        ("quarter", quarter),
        ("sgd", SGD),
        ("x4", X4),
        ("filter", FILTER),
        ("other", SGD | {"lr": 0.3}),
    ):
        made.run(name, spec)
    made.run("filter_alone", {"kind": "mapped_filter", "latent": SGD | {"lr": 0.07}})
    cells = cells_of(made.tables().runs)
    assert [method for *_, method in one_of_equals(cells, list(cells))] == ["filter_alone", "other", "sgd"]


def test_pairs_are_told_before_anything_runs(made):
    made.run("a", SGD)
    made.run("b", FILTER)
    made.run("arm", FILTER, roles=["control"])
    cells = {key: {**cell, "seeds": [0, 1]} for key, cell in cells_of(made.tables().runs).items()}
    claim = build(CLAIMS, {"kind": "bits_differ", "relations": ["filter", "rescaled"]})
    selected = claim.selects(cells)
    assert selected.baselines == {("digits", "mlp", "b"): ("digits", "mlp", "a")}
    assert (selected.num_seeds, selected.never) == (2, [])
    (reason,) = build(CLAIMS, {"kind": "bits_differ", "relations": ["rescaled"]}).selects(cells).never
    assert reason.kind == "no_twins"
