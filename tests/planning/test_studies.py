"""Studies in files of their own, overlays, and the values of `--config`: what wins, and which of them is blamed."""

import copy

import pytest

from boundcheck.planning.config import ConfigError, Sources
from boundcheck.planning.grid import make_plan

BLOCK = {"datasets": ["digits"], "models": ["mlp"], "methods": ["sgd"], "seeds": 3, "training": {"epochs": 2}}
STUDY = {
    "datasets": {"digits": {"kind": "digits"}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 8}},
    "methods": {"sgd": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}},
    "grid": [BLOCK],
}
BASE = {"name": "tiny", "studies": {"own": "studies/own.yaml"}}


@pytest.fixture
def base(make_config):
    make_config(STUDY, "studies/own.yaml")
    return make_config(BASE)


def test_a_study_may_be_a_file_relative_to_the_one_that_names_it(base, make_config):
    mapping = make_config({**BASE, "studies": {"own": STUDY}}, "mapping.yaml")
    assert make_plan([base]).batches == make_plan([mapping]).batches


def test_a_study_without_its_file_is_named(make_config):
    config = make_config(BASE)
    with pytest.raises(ConfigError, match=rf"{config}: studies.own: .*own.yaml: cannot be read"):
        Sources([config])


@pytest.mark.parametrize("as_file", [True, False])
def test_an_overlays_study_merges_over_that_of_the_base(base, make_config, as_file):
    """Without a `kind` a variant changes numbers; with one it replaces, so that nobody's momentum stays behind."""
    change = {"methods": {"sgd": {"lr": 0.5}}, "models": {"mlp": {"kind": "mlp", "width": 4}}}
    make_config(change, "other/change.yaml")
    overlay = make_config({"studies": {"own": "other/change.yaml" if as_file else change}}, "overlay.yaml")
    own = Sources([base, overlay]).merged()["studies"]["own"]
    assert own["methods"] == {"sgd": {"kind": "sgd", "lr": 0.5, "momentum": 0.9}}
    assert own["models"] == {"mlp": {"kind": "mlp", "width": 4}}
    assert own["grid"] == STUDY["grid"]


def test_a_variant_inside_a_variant_is_replaced_as_well(make_config):
    base = make_config({"methods": {"gam": {"kind": "gam", "base": {"kind": "sgd", "momentum": 0.9}}}})
    adamw = make_config({"methods": {"gam": {"base": {"kind": "adamw"}}}}, "adamw.yaml")
    faster = make_config({"methods": {"gam": {"base": {"lr": 1.0}}}}, "faster.yaml")
    assert Sources([base, adamw]).merged()["methods"]["gam"] == {"kind": "gam", "base": {"kind": "adamw"}}
    expected = {"kind": "gam", "base": {"kind": "sgd", "momentum": 0.9, "lr": 1.0}}
    assert Sources([base, faster]).merged()["methods"]["gam"] == expected


def test_a_studys_variant_without_a_kind_changes_the_shared_one_for_it_alone(make_config):
    studies = {"own": {"methods": {"sgd": {"lr": 0.5}}, "grid": [BLOCK]}, "other": {"grid": [BLOCK]}}
    shared = {key: STUDY[key] for key in ("datasets", "models", "methods")}
    plan = make_plan([make_config({"name": "tiny", **shared, "studies": studies})])
    rates = {batch.study: batch.train["method"] for batch in plan.batches.values()}
    assert rates["own"] == {"name": "sgd", "kind": "sgd", "lr": 0.5, "momentum": 0.9}
    assert rates["other"] == {"name": "sgd", "kind": "sgd", "lr": 0.1, "momentum": 0.9}


def test_a_studys_variants_are_not_seen_by_others(make_config):
    config = make_config({"name": "tiny", "studies": {"own": STUDY, "other": {"grid": [BLOCK]}}})
    with pytest.raises(ConfigError, match=r"studies.other.grid\[0\].datasets: no variant 'digits' in datasets"):
        make_plan([config])


def test_defaults_are_for_all_blocks_of_a_study(make_config):
    defaults = {"seeds": 3, "datasets": ["digits"], "models": ["mlp"], "training": {"epochs": 4, "batch_size": 10}}
    grid = [{"methods": ["sgd"], "training": {"epochs": 2}}]
    plan = make_plan([make_config({"name": "t", "studies": {"own": {**STUDY, "defaults": defaults, "grid": grid}}})])
    (batch,) = plan.batches.values()
    assert (batch.train["training"]["epochs"], batch.train["training"]["batch_size"]) == (2, 10)


def test_an_overlay_with_a_name_takes_over_no_defaults(base, make_config):
    make_config({**STUDY, "defaults": {"seeds": 3, "training": {"batch_size": 10}}}, "studies/own.yaml")
    block = {key: value for key, value in BLOCK.items() if key != "seeds"}
    overlay = {"studies": {"own": {"grid": [block]}}}
    assert make_plan([base, make_config(overlay, "same.yaml")]).batches
    with pytest.raises(ConfigError, match=r"scale.yaml: studies.own.grid\[0\]: missing key 'seeds'"):
        make_plan([base, make_config({**overlay, "name": "other"}, "scale.yaml")])


def mistaken(*keys, value):
    study = copy.deepcopy(STUDY)
    target = study
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    return study


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (mistaken("grid", 0, "seeds", value=0), "grid[0].seeds: got 0"),
        (mistaken("grid", 0, "training", "warmup_epochs", value=3), "grid[0].training.warmup_epochs: got 3"),
        (mistaken("methods", "sgd", value={"lr": 0.1}), "methods.sgd: missing key 'kind'"),
        ({**STUDY, "defaults": {"training": {"warmup_epochs": 3}}}, "defaults.training.warmup_epochs: got 3"),
        ({**STUDY, "gird": []}, "gird: unknown key; allowed: analyses, checks, claims"),
    ],
)
def test_a_mistake_in_a_studys_file_is_blamed_on_it(base, make_config, study, words):
    file = make_config(study, "studies/own.yaml")
    with pytest.raises(ConfigError) as caught:
        make_plan([base])
    assert str(caught.value).startswith(f"{file}: {words}")


def test_a_file_is_not_blamed_for_what_a_later_one_replaced(base, make_config):
    make_config({**STUDY, "grid": [{**BLOCK, "training": {"step_epochs": [1]}}]}, "studies/own.yaml")
    grid = [{**BLOCK, "training": {"lr_schedule": "step"}}]
    overlay = make_config({"studies": {"own": {"grid": grid}}}, "overlay.yaml")
    with pytest.raises(ConfigError, match=rf"{overlay}: studies.own.grid\[0\].training.step_epochs: the schedule"):
        make_plan([base, overlay])


def test_values_of_the_command_line_come_last_and_are_blamed_on_no_file(base):
    values = {"seeds_per_job": 1, "studies": {"own": {"methods": {"sgd": {"lr": "0.5"}}}}}
    plan = make_plan([base], values)
    assert len(plan.batches) == 3
    assert plan.batches["own/digits/mlp/sgd/seeds_0-0"].train["method"]["lr"] == 0.5  # not the text
    with pytest.raises(ConfigError, match=r"^--config: seeds_per_job: got 0; allowed"):
        make_plan([base], {"seeds_per_job": 0})


def test_a_name_on_the_command_line_keeps_the_grids(base):
    assert make_plan([base], {"name": "again"}).scale == "again"


@pytest.mark.parametrize(("text", "right"), [("1e-3", "1.0e-3"), ("2E4", "2.0e+4"), ("-1.5e3", "-1.5e+3")])
def test_a_number_that_yaml_reads_as_a_text_is_shown_in_the_form_that_it_reads(base, make_config, text, right):
    overlay = make_config(f"studies: {{own: {{defaults: {{training: {{label_smoothing: {text}}}}}}}}}", "overlay.yaml")
    with pytest.raises(ConfigError, match=f"write {right.replace('+', '[+]')}, YAML reads {text} as text$"):
        make_plan([base, overlay])
    assert Sources([make_config(f"a: {right}", "right.yaml")]).config == {"a": float(text)}


def test_a_text_that_is_no_number_gets_no_such_hint(base, make_config):
    overlay = make_config({"studies": {"own": {"defaults": {"training": {"label_smoothing": "much"}}}}}, "overlay.yaml")
    with pytest.raises(ConfigError, match=r"got 'much'; allowed: a number in \[0, 1\)$"):
        make_plan([base, overlay])


def test_a_paper_brings_its_checks_and_claims(make_config):
    """A study of another name has its own or none."""
    own = {"claims": {"mine": {"kind": "theorem_holds", "check": "zeroth_below_first"}}}
    studies = {"gam": {**STUDY, **own}, "other": STUDY}
    file = make_config({"name": "tiny", "studies": studies})
    plan = make_plan([file])
    plan.resolved = {batch.cell: {} for batch in plan.batches.values()}
    spec = plan.check_spec("gam")
    assert "zeroth_below_first" in spec["checks"]
    assert {"mine", "first_order_flatness_dominates"} <= spec["claims"].keys()
    assert (plan.check_spec("other")["checks"], plan.check_spec("other")["claims"]) == ({}, {})
    assert "claims.yaml: claims.first_order_flatness_dominates" in str(
        plan.sources.error(("studies", "gam", "claims", "first_order_flatness_dominates"), "wrong")
    )
    assert str(plan.sources.error(("studies", "gam", "claims", "mine"), "wrong")).startswith(str(file))


def test_a_mistake_in_a_table_is_named_with_its_study(make_config):
    tables = {"mine": {"kind": "lower_value", "each": ["gam"]}}
    with pytest.raises(ConfigError, match=r"config\.yaml: studies\.own\.claims\.mine\.each: got"):
        Sources([make_config({"name": "tiny", "studies": {"own": {"claims": tables}}})])


def test_a_study_that_no_file_gives_a_grid_is_refused(base, make_config):
    overlay = make_config({"name": "other", "studies": {"gamm": {"defaults": {"seeds": 5}}}}, "overlay.yaml")
    with pytest.raises(ConfigError, match=r"overlay.yaml: studies.gamm: no file gives it a grid; allowed: .*"):
        make_plan([base, overlay])
