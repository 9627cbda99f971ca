"""What the schema cannot say: kinds, their numbers, and names that stand for nothing."""

import copy

import pytest

from boundcheck.jobs.validate import validate
from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import make_plan

CLAIM = {"kind": "lower_value", "statement": "s", "reference": "r", "quantity": "sharpness", "methods": ["gam_*"]}
CONFIG = {
    "name": "tiny",
    "datasets": {"digits": {"kind": "digits", "train_size": 100}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 6}},
    "methods": {
        "sgd": {"kind": "sgd", "lr": 0.1},
        "gam_a": {"kind": "gam", "rho": 0.1, "alpha": 0.1, "base": {"kind": "sgd", "lr": 0.1}},
    },
    "analyses": {"spectrum": {"kind": "hessian_spectrum"}},
    "studies": {
        "gam": {
            "grid": [
                {
                    "datasets": ["digits"],
                    "models": ["mlp"],
                    "methods": ["sgd", "gam_a"],
                    "seeds": 3,
                    "training": {"epochs": 1},
                    "snapshots": [1],
                    "analyses": ["spectrum"],
                    "record": ["loss"],
                }
            ],
            "checks": {"dominates": {"kind": "zeroth_below_first"}},
            "claims": {
                "flatter": {**CLAIM, "baseline": "sgd", "source": "measurements"},
                "holds": {"kind": "theorem_holds", "check": "dominates", "statement": "s", "reference": "r"},
            },
        }
    },
}

DIGITS = {"kind": "digits", "train_size": 100}
CERTIFIED = {
    "datasets": {"digits": {**DIGITS, "normalise": "sphere"}},
    "models": {"mlp": {"kind": "weight_norm_mlp", "depth": 1, "width": 6, "activation": "tanh"}},
    "methods": {**CONFIG["methods"], "sgd": {"kind": "certified_gd"}},
}


@pytest.fixture
def errors_of(make_config):
    def errors_of(*keys, value):
        config = copy.deepcopy(CONFIG)
        target = config
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value
        try:
            return validate(make_plan([make_config(config)]))["errors"]
        except ConfigError as error:
            return str(error).splitlines()

    return errors_of


def test_a_good_config_has_no_errors(errors_of):
    assert errors_of("name", value="tiny") == []


GRID = ("studies", "gam", "grid", 0)
CLAIMS = ("studies", "gam", "claims")


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("datasets", "digits", "kind"), "digit", ["datasets.digits: unknown kind 'digit'", "mnist5k"]),
        (("datasets", "digits", "pool"), 3, ["datasets.digits: pool: got 3", "divisors", "(1, 8, 8)"]),
        (("datasets", "digits", "train_size"), 1450, ["datasets.digits: train_size: got 1450", "at most 1442"]),
        (("datasets", "digits", "test_size"), 15, ["datasets.digits: test_size: got 15", "multiples of 10"]),
        (("datasets", "digits", "positive"), ["cat"], ["datasets.digits: positive: got ['cat']", "0…9", "'0', '1'"]),
        (("models", "mlp"), {"kind": "vit", "size": "ti", "patch": 3}, ["models.mlp: on digits", "divisible", "3"]),
        (("datasets", "digits", "normalize"), "unit", ["datasets.digits: normalize", "no such setting", "normalise"]),
        (("models", "mlp", "train_size"), 30, ["models.mlp.train_size", "it has no effect in models"]),
        (("datasets", "digits", "name"), "other", ["datasets.digits.name", "it has no effect"]),
        ((*CLAIMS, "flatter", "methods"), 3, ["claims.flatter: methods: got 3", "a selector"]),
        ((*CLAIMS, "flatter", "quantity"), 3, ["claims.flatter: quantity: got 3", "a text"]),
        (("models", "mlp", "widht"), 3, ["models.mlp: widht", "no such setting", "width"]),
        (("methods", "gam_a", "base"), {"kind": "sdg"}, ["methods.gam_a", "'sdg'"]),
        ((*GRID, "record"), ["loss", "los"], ["grid[0].record[1]: unknown kind 'los'", "gradient_norm"]),
        ((*GRID, "record"), ["loss", {"kind": "loss"}], ["grid[0].record: got loss twice"]),
        ((*GRID, "record"), [{"kind": "loss", "every": 3}], ["grid[0].record[0]: every: loss has no such setting"]),
        ((*GRID, "training"), {"loss": "square", "label_smoothing": 0.1}, ["grid[0].training: label_smoothing"]),
        ((*CLAIMS, "flatter", "baseline"), "sdg", ["claims.flatter: baseline: no name fits 'sdg'", "gam_a, sgd"]),
        ((*CLAIMS, "flatter", "analysis"), "spectrm", ["claims.flatter: analysis: no analysis 'spectrm'", "spectrum"]),
        ((*CLAIMS, "flatter", "source"), "curve", ["claims.flatter", "source: got", "measurements"]),
        ((*CLAIMS, "holds", "check"), "dominate", ["claims.holds: check: no check 'dominate'", "dominates"]),
        (("studies", "gam", "checks", "dominates", "kind"), "zeroth", ["checks.dominates: unknown kind 'zeroth'"]),
    ],
)
def test_a_mistake_is_named(errors_of, keys, value, words):
    errors = errors_of(*keys, value=value)
    assert len(errors) == 1
    assert "config.yaml: " in errors[0]
    for word in words:
        assert word in errors[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"models": CONFIG["models"]}, None),  # skipped
        ({"methods": {**CONFIG["methods"], "sgd": {"kind": "certified_gd", "input_norm": 8.0}}}, None),
        ({"loss": "cross_entropy"}, "loss: got cross_entropy; allowed: square"),
        ({"datasets": {"digits": DIGITS}}, "normalise: got standard; allowed: sphere"),
        (
            {"methods": {**CONFIG["methods"], "sgd": {"kind": "certified_gd", "input_norm": 1.0}}},
            "input_norm: got 1.0; allowed: none, or 8.0",
        ),
    ],
)
def test_settings_without_a_certificate_are_refused(make_config, changes, problem):
    changes = dict(changes)
    config = copy.deepcopy(CONFIG) | CERTIFIED
    config["studies"]["gam"]["grid"][0]["training"]["loss"] = changes.pop("loss", "square")
    errors = validate(make_plan([make_config(config | changes)]))["errors"]
    assert len(errors) == (problem is not None)
    if problem:
        assert "config.yaml: methods.sgd: on gam/digits/mlp/sgd: " + problem in errors[0]


@pytest.mark.parametrize("batch_size", [1, 33, 99, 34])
@pytest.mark.parametrize("kind", ["binary_mlp", "mlp"])
def test_a_batch_of_one_is_an_error_where_the_model_normalises_batches(make_config, kind, batch_size):
    config = copy.deepcopy(CONFIG)
    config["models"]["mlp"]["kind"] = kind
    config["studies"]["gam"]["grid"][0]["training"]["batch_size"] = batch_size
    errors = validate(make_plan([make_config(config)]))["errors"]
    problem = f"batch_size {batch_size} and 100 training examples make a batch of 1, and"
    expected = ["sgd", "gam_a"] if kind == "binary_mlp" and batch_size != 34 else []
    assert len(errors) == len(expected)
    for method, error in zip(expected, errors, strict=True):
        assert f"datasets.digits: on gam/digits/mlp/{method}: {problem}" in error


IN_DEPTH, IN_WIDTH = "allowed: a whole number in [1, 1000]", "[1, 1000000]"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kind": "mlp", "depth": 10**8, "width": 8}, ["depth: got 100000000", "a whole number in [0, 1000]"]),
        ({"kind": "mlp", "depth": 1, "width": 10**12}, ["width: got 1000000000000", IN_WIDTH]),
        ({"kind": "binary_mlp", "depth": 10**8, "width": 8}, ["depth", IN_DEPTH]),
        ({"kind": "weight_norm_mlp", "depth": 10**8, "width": 8, "activation": "tanh"}, ["depth", IN_DEPTH]),
        ({"kind": "vit", "patch": 2, "dim": 8, "heads": 1, "depth": 10**8}, ["depth", IN_DEPTH]),
        ({"kind": "vit", "patch": 2, "dim": 8, "heads": 1, "depth": 1, "mlp_ratio": 1e300}, ["mlp_ratio", "(0, 1000]"]),
        ({"kind": "pyramidnet", "depth": 9 * 10**8 + 2}, ["depth", IN_DEPTH]),
        ({"kind": "pyramidnet", "alpha": 1e300}, ["alpha", "[0, 1000000]"]),
        ({"kind": "wide_resnet", "depth": 6 * 10**8 + 4, "widen": 1}, ["depth", IN_DEPTH]),
        ({"kind": "resnet", "depth": 8, "width": 10**12}, ["width", IN_WIDTH]),
        ({"kind": "birealnet", "depth": 8, "width": 10**12}, ["width", IN_WIDTH]),
        ({"kind": "reactnet", "width": 10**12}, ["width", IN_WIDTH]),
        ({"kind": "autoencoder", "code": 10**12}, ["code", IN_WIDTH]),
        ({"kind": "autoencoder", "code": 2, "widths": [8] * 101}, ["widths", "a list of 1 to 100 whole numbers"]),
        ({"kind": "dag_net", "widths": [8] * 201}, ["widths", "a list of at most 200 whole numbers"]),
        ({"kind": "mlp", "depth": 9, "width": 10**6}, ["on digits: got a network of 8,000,", "at most 10,000,000,000"]),
        ({"kind": "wide_resnet", "depth": 10, "widen": 1000, "base_width": 10**6}, ["on digits: ", "lower its widths"]),
        ({"kind": "autoencoder", "code": 9, "skips": "none", "matched": True, "widths": [10**6] * 3}, ["parameters"]),
    ],
)
def test_a_network_of_a_size_that_no_machine_holds_is_refused(errors_of, model, words):
    (error,) = errors_of("models", "mlp", value=model)
    assert "config.yaml: models.mlp" in error
    for word in words:
        assert word in error


def test_epochs_have_an_end(errors_of):
    (error,) = errors_of(*GRID, "training", value={"epochs": 10**12})
    assert "grid[0].training.epochs: got 1000000000000; allowed: a whole number in [0, 10000000]" in error


def test_epochs_of_a_method_have_an_end(make_config):
    config = copy.deepcopy(CONFIG)
    config["methods"]["sgd"]["training"] = {"epochs": "x9999"}
    config["studies"]["gam"]["grid"][0] |= {"training": {"epochs": 10**6}, "snapshots": []}
    config["studies"]["gam"]["grid"][0].pop("analyses")
    with pytest.raises(
        ConfigError, match=r"grid\[0\].training.epochs: got 9,999,000,000 for sgd; allowed: at most 10,"
    ):
        make_plan([make_config(config)])


@pytest.mark.parametrize("settings", [{"batch_norm": "train"}, {"batch_norm": "recompute"}])
@pytest.mark.parametrize("batches", [{"samples": 1}, {"samples": 3, "chunk_size": 2}])
def test_batch_statistics_of_one_example_are_refused(make_config, settings, batches):
    if settings["batch_norm"] == "train":
        batches = {"samples": 1}
    config = copy.deepcopy(CONFIG)
    config["models"]["mlp"] = {"kind": "binary_mlp", "depth": 1, "width": 6}
    config["methods"] = {"sgd": {"kind": "latent_sgd", "lr": 0.1, "real": {"kind": "sgd", "lr": 0.1}}}
    config["studies"]["gam"]["grid"][0]["methods"] = ["sgd"]
    del config["studies"]["gam"]["claims"]
    config["analyses"]["spectrum"] |= {**settings, **batches}
    (error,) = validate(make_plan([make_config(config)]))["errors"]
    assert "config.yaml: analyses.spectrum: on gam/digits/mlp/sgd: batch_norm: its samples make a batch of 1" in error
    config["analyses"]["spectrum"] = {"kind": "hessian_spectrum", **settings, "samples": 2}
    assert validate(make_plan([make_config(config)]))["errors"] == []
