"""Which cells a claim looks at, and which baseline each has."""

import pandas as pd
import pytest

from boundcheck.claims import CLAIMS
from boundcheck.claims.shared.baselines import SelectsPairs
from boundcheck.claims.shared.selection import CELL as NAMES
from boundcheck.claims.shared.selection import SelectsCells, cells_of, matches, only_cells, only_runs
from boundcheck.claims.shared.values import UndecidableError
from boundcheck.registry import build
from boundcheck.report.reasons import worded
from boundcheck.verdicts import Views

SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "num_gradients": 1}
ADAMW = {"kind": "adamw", "lr": 0.002, "num_gradients": 1}
METHODS = {
    "sgd": SGD,
    "adamw": ADAMW,
    "sam": {"kind": "sam", "rho": 0.05, "base": SGD, "num_gradients": 2},
    "sam_0.1": {"kind": "sam", "rho": 0.1, "base": SGD, "num_gradients": 2},
    "gam": {"kind": "gam", "form": "exact", "rho": 0.1, "oracle": "none", "base": SGD, "num_gradients": 4},
    "adamw_gam": {"kind": "gam", "form": "exact", "rho": 0.1, "oracle": "none", "base": ADAMW, "num_gradients": 4},
    "sam_gam": {"kind": "gam", "form": "exact", "rho": 0.1, "oracle": "sam", "oracle_rho": 0.05, "base": SGD,
                "num_gradients": 5},
}  # fmt: skip


def cell(name, epochs=5, roles=("main",), seeds=(0, 1, 2), model=None, record=({"kind": "loss"},)):
    return {
        "dataset": {"name": "d", "kind": "digits"},
        "model": {"name": "m", "kind": "mlp", "depth": 2, **(model or {})},
        "method": {"name": name, **METHODS[name.partition("@")[0]]},
        "training": {"epochs": epochs, "batch_size": 64, "lr_schedule": "cosine"},
        "record": list(record),
        "roles": list(roles),
        "seeds": list(seeds),
    }


def grid(*cells):
    return {("d", "m", settings["method"]["name"]): settings for settings in cells}


ALL = grid(*map(cell, METHODS))


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ({}, set(METHODS)),
        ({"kind": "gam"}, {"gam", "adamw_gam", "sam_gam"}),
        ({"kind": ["sgd", "adamw"]}, {"sgd", "adamw"}),
        ({"kind": "gam", "oracle": "none", "base": {"kind": "sgd"}}, {"gam"}),
        ([{"kind": "sgd"}, {"base": {"kind": "sgd"}}], {"sgd", "sam", "sam_0.1", "gam", "sam_gam"}),
        ({"rho": {"at_most": 0.05}}, {"sam"}),
        ({"rho": {"above": 0.05, "below": 1}, "kind": {"not": "gam"}}, {"sam_0.1"}),
        ({"momentum": True}, set()),  # true is no number
        ("sam*", {"sam", "sam_0.1", "sam_gam"}),
        ({"name": "adam*"}, {"adamw", "adamw_gam"}),
    ],
)
def test_a_selector_says_what_a_method_is(selector, names):
    assert {key[2] for key in SelectsCells(methods=selector).chosen(ALL)} == names


def test_models_training_and_recorders_are_selected_too():
    cells = grid(
        cell("sgd", model={"depth": 3}), cell("sam", epochs=10), cell("gam", record=[{"kind": "bits", "every": 8}])
    )
    assert SelectsCells(models={"depth": 3}).chosen(cells) == [("d", "m", "sgd")]
    assert SelectsCells(training={"epochs": {"at_least": 10}}).chosen(cells) == [("d", "m", "sam")]
    assert SelectsCells(record={"kind": "bits", "every": 8}).chosen(cells) == [("d", "m", "gam")]


def test_lists_are_compared_whole_where_it_is_said():
    assert matches({"decay": {"equals": []}}, {"decay": []})
    assert not matches({"decay": {"equals": []}}, {"decay": [1]})
    assert not matches({"decay": []}, {"decay": []})  # any of none


def pairs(cells, **settings):
    return {pair.cell[2]: pair.baseline and pair.baseline[2] for pair in SelectsPairs(**settings).pairs(cells)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"methods": {"kind": "gam", "oracle": "none"}, "baseline": "base"}, {"gam": "sgd", "adamw_gam": "adamw"}),
        (
            {"methods": {"kind": "gam"}, "baseline": {"kind": "sam", "rho": "same", "base": "same"}},
            {"gam": "sam_0.1", "adamw_gam": None, "sam_gam": "sam_0.1"},
        ),
        (
            {"methods": {"oracle": "sam"}, "baseline": {"kind": "sam", "rho": {"same_as": "oracle_rho"}}},
            {"sam_gam": "sam"},
        ),
        (
            {"methods": {"kind": "gam"}, "baseline": {"kind": "sam", "rho": {"same_as": "rho", "times": 0.5}}},
            {"gam": "sam", "adamw_gam": "sam", "sam_gam": "sam"},
        ),
        ({"methods": {"kind": "sam"}, "baseline": {"rho": 0.05, "others": "same"}}, {"sam_0.1": "sam"}),
        (
            {"methods": "gam", "baseline": {"kind": "sam", "rho": 0.1, "base": {"lr": {"same_as": "base.lr"}}}},
            {"gam": "sam_0.1"},
        ),
    ],
)  # fmt: skip
def test_a_baseline_refers_to_the_compared_method(settings, expected):
    assert pairs(ALL, **settings) == expected


def test_budgets():
    cells = grid(cell("gam"), cell("sgd"), cell("sgd@x4", epochs=20, roles=["longer"]))
    gam = {"methods": "gam", "baseline": {"kind": "sgd"}}
    assert pairs(cells, **gam) == {"gam": "sgd"}
    assert pairs(cells, **gam, budget="equal_gradients") == {"gam": None}  # a baseline has its own roles
    assert pairs(cells, **gam, budget="equal_gradients", baseline_roles=["longer"]) == {"gam": "sgd@x4"}


def test_a_baseline_may_be_told_by_its_recorders():
    """Two trainings by one method, each at the step size of a certificate of its own."""
    of_rule = {rule: [{"kind": "certificate", "rule": rule}] for rule in ("sharp", "paper")}
    cells = grid(*(cell(f"sgd@{rule}", record=record) for rule, record in of_rule.items()))
    selected = {"record": {"rule": "sharp"}, "baseline": {"others": "same"}}
    assert pairs(cells, **selected, baseline_record={"rule": "paper"}) == {"sgd@sharp": "sgd@paper"}
    with pytest.raises(UndecidableError):
        pairs(cells, **selected)


def test_the_rows_of_the_selected_cells(make_tables):
    names = [("d", "m", "sgd"), ("d", "m", "gam"), ("e", "m", "sgd"), ("e", "n", "gam")]
    tables = make_tables({name: {0: 1.0, 1: 2.0} for name in names})
    for views in (None, Views()):
        whole = tables._replace(views=views)
        some = only_cells(whole, names[1:3])
        assert set(some.curves[list(NAMES)].itertuples(index=False, name=None)) == set(names[1:3])
        assert len(some.curves) == len(tables.curves) / 2
        assert only_cells(whole, names) is whole
        runs = only_runs(whole, names[:1])
        assert runs.curves is tables.curves
        assert runs.runs["seed"].tolist() == [0, 1]


def test_several_baselines_are_named():
    with pytest.raises(UndecidableError) as several:
        pairs(ALL, methods="gam", baseline={"kind": "sam"})
    assert worded([several.value.reason]).endswith("must name one: d/m/sam, d/m/sam_0.1")


def test_roles():
    cells = ALL | grid(cell("sam", roles=["control"]), cell("gam", roles=["main", "control"]))
    assert ("d", "m", "sam") not in SelectsCells().chosen(cells)
    assert SelectsCells(roles=["control"]).chosen(cells) == [("d", "m", "gam"), ("d", "m", "sam")]


def selects(cells, recorded=None, **settings):
    plain = {"kind": "lower_value", "quantity": "sharpness", "source": "measurements", "methods": "gam"}
    return build(CLAIMS, plain | settings).selects(cells, recorded)


def test_what_a_planned_grid_can_never_decide():
    def recorded(settings, source):
        return ["sharpness", "largest_*"] if source == "measurements" else ["test_accuracy"]

    fine = selects(ALL, recorded, baseline="base")
    assert (fine.cells, fine.num_seeds, fine.never) == ([("d", "m", "gam")], 3, [])
    assert fine.baselines == {("d", "m", "gam"): ("d", "m", "sgd")}
    one_seed = ALL | grid(cell("sgd", seeds=[0]))
    for cells, settings, why in (
        (ALL, {"baseline": "base", "methods": "gum"}, "no cell that the claim selects"),
        (ALL, {"baseline": {"kind": "gsam"}}, "no selected cell has a baseline"),
        (ALL, {"baseline": {"kind": "sam"}}, "2 baselines"),
        (one_seed, {"baseline": "base"}, "fewer than two seeds"),
        (ALL, {"baseline": "base", "quantity": "trace"}, "no selected cell records trace"),
    ):
        assert why in worded(selects(cells, recorded, **settings).never)


@pytest.mark.parametrize("column", ["dataset_spec", "model_spec", "method_spec", "training", "record", "roles"])
def test_a_run_without_resolved_settings_is_no_run_without_settings(column):
    specs = {key: {} for key in ("dataset_spec", "model_spec", "method_spec", "training")}
    run = {**dict.fromkeys(NAMES, "a"), **specs, "record": [], "roles": ["main"]}
    assert len(cells_of(pd.DataFrame([run]))) == 1
    with pytest.raises(KeyError, match=column):
        cells_of(pd.DataFrame([run]).drop(columns=column))
