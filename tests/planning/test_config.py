"""Config files: merged, checked, and refused with the file, key, value and what is allowed."""

import copy

import pytest

from boundcheck.planning.config import ConfigError, Sources
from boundcheck.planning.grid import make_plan

BASE = {
    "name": "tiny",
    "datasets": {"digits": {"kind": "digits"}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 8}},
    "methods": {"sgd": {"kind": "sgd", "lr": 0.1}},
    "analyses": {"gradient": {"kind": "gradient_norm", "samples": 10}},
    "studies": {
        "own": {
            "grid": [
                {
                    "datasets": ["digits"],
                    "models": ["mlp"],
                    "methods": ["sgd"],
                    "seeds": 3,
                    "training": {"epochs": 2},
                    "snapshots": [0, "last"],
                    "analyses": ["gradient"],
                }
            ]
        }
    },
}


@pytest.fixture
def write(make_config):
    return make_config


def changed(*keys, value):
    config = copy.deepcopy(BASE)
    target = config
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    return config


def test_overlay_merges_variants_and_replaces_lists(write):
    overlay = {"name": "other", "methods": {"adam": {"kind": "adamw", "lr": 0.01}, "sgd": {"lr": 0.5}}}
    merged = Sources([write(BASE), write(overlay, "overlay.yaml")]).merged()
    assert merged["methods"] == {"sgd": {"kind": "sgd", "lr": 0.5}, "adam": {"kind": "adamw", "lr": 0.01}}
    assert merged["name"] == "other"


def test_an_overlay_with_a_name_has_only_its_own_grids(write):
    studies = {**BASE["studies"], "other": BASE["studies"]["own"]}
    base = write({**BASE, "studies": studies})
    changed_number = write({"methods": {"sgd": {"lr": 0.5}}}, "number.yaml")
    scale = write({"name": "mine", "studies": {"other": BASE["studies"]["own"]}}, "mine.yaml")
    assert make_plan([base, changed_number]).studies == ["own", "other"]
    assert make_plan([base, scale]).studies == ["other"]
    assert make_plan([base, scale, changed_number]).studies == ["other"]
    with pytest.raises(ConfigError, match="at least one block"):
        make_plan([base, write({"name": "empty"}, "empty.yaml")])


BLOCK = ("studies", "own", "grid", 0)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed("nmae", value=1), ["nmae: unknown key", "allowed", "studies"]),
        (changed(*BLOCK, "epochs", value=3), ["studies.own.grid[0].epochs", "unknown key", "training"]),
        (changed(*BLOCK, "training", "loss", value="hinge"), ["training.loss", "'hinge'", "cross_entropy"]),
        (changed(*BLOCK, "training", "label_smoothing", value=1.5), ["label_smoothing", "1.5", "[0, 1)"]),
        (changed(*BLOCK, "training", "epochs", value=-1), ["training.epochs", "-1"]),
        (changed(*BLOCK, "seeds", value=4), ["grid[0].seeds", "4", "multiple of seeds_per_job (3)"]),
        (changed(*BLOCK, "methods", value=["sgdd"]), ["grid[0].methods", "'sgdd'", "sgd"]),
        (changed(*BLOCK, "snapshots", value=[0, 7]), ["grid[0].snapshots", "7", "up to 2"]),
        (changed(*BLOCK, "snapshots", value=[]), ["grid[0].analyses", "snapshots"]),
        (changed("methods", "sgd", value={"lr": 1}), ["methods.sgd", "missing key 'kind'"]),
        (changed("name", value="../up"), ["name", "../up", "letters"]),
        (changed(*BLOCK, "training", "warmup_epochs", value=3), ["training.warmup_epochs", "3", "at most 2"]),
        (changed(*BLOCK, "training", "step_epochs", value=[1, 5]), ["training.step_epochs", "5", "at most 2"]),
        (changed(*BLOCK, "training", "lr_schedule", value="step"), ["training.step_epochs", "needs"]),
        (changed("studies", "own", "grid", value=[]), ["studies", "at least one block"]),
        (
            changed("studies", value={"train": BASE["studies"]["own"]}),
            ["studies.train", "the name of a rule"],
        ),
        (changed("name", value="reference"), ["name", "'reference' is where reports are kept"]),
        (changed(*BLOCK, "training", "epochs", value=1.0), ["training.epochs", "1.0"]),
        (changed(*BLOCK, "training", "label_smoothing", value=float("nan")), ["label_smoothing", "nan"]),
        (changed("studies", value=None), ["studies", "None", "a mapping from names to studies"]),
    ],
)
def test_a_mistake_is_named(write, config, words):
    path = write(config)
    with pytest.raises(ConfigError) as caught:
        make_plan([path])
    assert str(path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


HOSTILE = ["a b", "a'b", 'a"b', "a;b", "..", "a/b", "a..b", "x" * 65, "ümlaut", "$(id)", "{a}", "", "-rf", "1st"]
HOSTILE += ["a\n", "a\nb", "a\tb", ".a", "../up", "/root", "a\\b", "a`b", "a*", "a&b", "a|b", "ａ", "a\u202eb", "a\0b"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("section", ["datasets", "models", "methods", "analyses", "studies"])
def test_hostile_names_are_refused(write, section, name):
    config = copy.deepcopy(BASE)
    config[section][name] = next(iter(config[section].values()))
    with pytest.raises(ConfigError, match="allowed"):
        make_plan([write(config)])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_scale_is_refused(write, name):
    with pytest.raises(ConfigError, match="allowed"):
        make_plan([write({**BASE, "name": name})])


@pytest.mark.parametrize("value", ["a b", "../../up", "x" * 65, "a\n", "$(id)", "ü"])
def test_a_sweep_makes_no_hostile_name(write, value):
    variant = {"kind": "sgd", "lr": 0.1, "sweep": {"form": [value]}}
    with pytest.raises(ConfigError, match=r"methods\.sgd\.sweep: makes the name"):
        make_plan([write(changed("methods", "sgd", value=variant))])


def test_the_error_names_the_overlay_that_sets_the_key(write):
    base, overlay = write(BASE), write({"studies": {"own": {"grid": [{"datasets": []}]}}}, "overlay.yaml")
    with pytest.raises(ConfigError, match=r"overlay\.yaml"):
        make_plan([base, overlay])


def test_seeds_that_do_not_fit_are_blamed_on_the_command_line_that_changes_them(write):
    path = write(BASE)
    for values, message in (
        ({"seeds_per_job": 2}, "--config: seeds_per_job: got 2; allowed: a divisor of 3, the seeds of own"),
        ({"studies": {"own": {"grid": [{**BASE["studies"]["own"]["grid"][0], "seeds": 4}]}}}, "--config: studies.own"),
    ):
        with pytest.raises(ConfigError) as caught:
            make_plan([path], values)
        assert str(caught.value).startswith(message)
        assert str(path) not in str(caught.value)


def test_broken_files_are_named(write, tmp_path):
    with pytest.raises(ConfigError, match="not valid YAML"):
        make_plan([write("a: [1")])
    with pytest.raises(ConfigError, match="must be a mapping"):
        make_plan([write("- a")])
    with pytest.raises(ConfigError, match="must be a mapping of keys, got NoneType"):
        make_plan([write("# nothing\n")])
    with pytest.raises(ConfigError, match="not valid YAML"):
        make_plan([write("a: 1\n---\nb: 2\n")])
    with pytest.raises(ConfigError, match="cannot be read"):
        make_plan([tmp_path / "missing.yaml"])


def test_every_mistake_is_reported_at_once(write):
    config = changed(*BLOCK, "training", value={"loss": "hinge", "epochs": -1, "batchsize": 3, "rate": 1})
    config["nmae"] = "x"
    del config["methods"]["sgd"]["kind"]
    with pytest.raises(ConfigError) as error:
        make_plan([write(config)])
    lines = str(error.value).splitlines()
    for words in (
        "loss: got 'hinge'",
        "epochs: got -1",
        "batchsize: unknown",
        "rate: unknown",
        "nmae: unknown",
        "'kind'",
    ):
        assert sum(words in line for line in lines) == 1, words
    assert len(lines) == 6


def test_a_key_that_stands_twice_is_named_with_its_lines(write):
    with pytest.raises(ConfigError, match="'sgd' occurs twice, in lines 3 and 4"):
        make_plan([write("name: a\nmethods:\n  sgd: {kind: sgd}\n  sgd: {kind: sgd}\n")])


def test_a_key_that_stands_twice_in_a_line_is_named(write):
    with pytest.raises(ConfigError, match="'lr' occurs twice, in line 2"):
        Sources([write("methods:\n  sgd: {lr: 0.1, lr: 0.2}\n")])


def test_a_key_that_stands_twice_deep_inside_is_named(write):
    with pytest.raises(ConfigError, match="'lr' occurs twice, in lines 3 and 4"):
        Sources([write("a:\n- x: &b\n    lr: 1\n    lr: 2\n  y: *b\n")])


def test_a_merged_key_may_be_overridden_again(write):
    text = """
    momentum: {nesterov: &a {lr: 0.1, decay: 0.0}}
    inside: {base: &b {<<: *a, lr: 0.2}}
    other: {<<: *b, lr: 0.3, momentum: 0.5}
    """
    merged = Sources([write(text)]).merged()
    assert merged["inside"] == {"base": {"lr": 0.2, "decay": 0.0}}
    assert merged["other"] == {"lr": 0.3, "decay": 0.0, "momentum": 0.5}


def test_a_misspelt_variant_is_shown_those_that_there_are(write):
    base, overlay = write(BASE), write({"methods": {"sdg": {"lr": 0.5}}}, "overlay.yaml")
    with pytest.raises(ConfigError) as caught:
        make_plan([base, overlay])
    problem = "missing key 'kind', which a new variant needs; variants there are: sgd"
    assert str(caught.value) == f"{overlay}: methods.sdg: {problem}"


def test_a_recorder_without_kind_has_no_variants_beside_it(write):
    with pytest.raises(ConfigError, match=r"record\[0\]: missing key 'kind'$"):
        make_plan([write(changed(*BLOCK, "record", value=[{"every": 1}]))])


def test_a_sweep_inside_a_number_is_named(write):
    with pytest.raises(ConfigError, match=r"methods.sgd.sweep: lr: got 0.1; allowed: a mapping"):
        make_plan([write(changed("methods", "sgd", "sweep", value={"lr.x": [1]}))])
