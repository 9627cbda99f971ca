"""The committed schema: a setting that its kind does not allow is refused before any kind is imported."""

import copy
import json

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import DEFAULT_TRAINING, make_plan
from boundcheck.planning.schema import FILE, schema

SGD = {"kind": "sgd", "lr": 0.1}
BASE = {
    "name": "tiny",
    "datasets": {"digits": {"kind": "digits"}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 8}},
    "methods": {"sgd": SGD},
    "analyses": {"noise": {"kind": "weight_noise"}},
    "studies": {
        "own": {
            "grid": [
                {"datasets": ["digits"], "models": ["mlp"], "methods": ["sgd"], "seeds": 3, "training": {"epochs": 2}}
            ]
        }
    },
}
BLOCK = ("studies", "own", "grid", 0)


def changed(*keys, value):
    config = copy.deepcopy(BASE)
    target = config
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    return config


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("methods", "sgd", "lr"), 0, "methods.sgd.lr: got 0; allowed: a number > 0"),
        (
            ("methods", "sgd", "lr"),
            "1e-3",
            "methods.sgd.lr: got '1e-3'; allowed: a number > 0; write 1.0e-3, YAML reads 1e-3 as text",
        ),
        (
            ("methods", "sgd"),
            {"kind": "sam", "rho": 0.1, "base": {**SGD, "momentum": 1}},
            "methods.sgd.base.momentum: got 1; allowed: a number in [0, 1)",
        ),
        (("methods", "sgd"), {"kind": "sam", "base": SGD}, "methods.sgd: missing key 'rho'"),
        (
            ("methods", "sgd", "training"),
            {"epochs": "x0"},
            "allowed: a whole number in [0, 10000000] or in a method x2, x4, ...",
        ),
        (("methods", "sgd"), {"lr": 1}, "methods.sgd: missing key 'kind', which a new variant needs; variants there"),
        (("datasets", "digits", "pool"), 1.5, "datasets.digits.pool: got 1.5; allowed: a whole number >= 1 or null"),
        (("models", "mlp", "init"), "zeros", "got 'zeros'; allowed: one of uniform, normal, he, xavier"),
        (("analyses", "noise", "rhos"), [0.1, -1], "analyses.noise.rhos[1]: got -1; allowed: a number > 0"),
        ((*BLOCK, "record"), [{"kind": "bits", "every": 0}], "record[0].every: got 0; allowed: a whole number >= 1"),
        ((*BLOCK, "record"), [{"every": 1}], "record[0]: missing key 'kind'"),
        ((*BLOCK, "training", "augment"), {"crop": True}, "augment.crop: got True; allowed: a whole number >= 0"),
        ((*BLOCK, "training", "batch_size"), 0, "batch_size: got 0; allowed: a whole number >= 1 or full"),
        (("studies", "own"), 3, "studies.own: got 3; allowed: a mapping of keys, or the path of a file with them"),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_key_value_and_what_is_allowed(make_config, keys, value, problem):
    with pytest.raises(ConfigError) as caught:
        make_plan([make_config(changed(*keys, value=value))])
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("methods", "sgd"), {"kind": "brand_new", "lr": 0.1}),
        (("methods", "sgd", "brand_new"), 1),
        ((*BLOCK, "record"), ["brand_new"]),
    ],
)
def test_what_is_newer_than_the_schema_is_left_to_the_classes(make_config, keys, value):
    make_plan([make_config(changed(*keys, value=value))])


def test_a_sweep_may_give_what_a_kind_needs(make_config):
    swept = changed("methods", "sgd", value={"kind": "sgd", "sweep": {"lr": [0.1, 0.2]}})
    swept["studies"]["own"]["grid"][0]["methods"] = ["sgd_lr0.1", "sgd_lr0.2"]
    assert len(make_plan([make_config(swept)]).batches) == 2


def test_settings_of_distillation_have_no_default_where_they_mean_nothing():
    assert DEFAULT_TRAINING["epochs"] == 10
    assert not {"teacher", "temperature", "label_weight"} & set(DEFAULT_TRAINING)


def test_an_editor_finds_no_fault_with_the_config_files(request):
    """By the standard's own rules, each file alone."""
    folder, config = FILE.parent, request.config.rootpath / "config"
    registry = Registry().with_resource(FILE.name, Resource.from_contents(schema()))
    study = json.loads((folder / "study.schema.json").read_text(encoding="utf-8"))
    for path in config.rglob("*.yaml"):
        hint, content = path.read_text(encoding="utf-8").partition("\n")[::2]
        named = (path.parent / hint.partition("$schema=")[2]).resolve()
        is_study = path.is_relative_to(config / "studies")
        assert named == (folder / "study.schema.json" if is_study else FILE), path
        validator = Draft202012Validator(study if is_study else schema(), registry=registry)
        assert [error.message for error in validator.iter_errors(yaml.safe_load(content))] == [], path


def test_an_editor_finds_no_fault_with_the_claims_of_the_papers():
    validator = Draft202012Validator({"$defs": schema()["$defs"], "$ref": "#/$defs/study"})
    for path in (FILE.parents[1] / "claims").glob("*/claims.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        study = {key: content[key] for key in ("checks", "claims") if key in content}
        assert [error.message for error in validator.iter_errors(study)] == [], path
    assert not validator.is_valid({"claims": {"mine": {"kind": "lower_value", "statment": "A misspelt key."}}})
