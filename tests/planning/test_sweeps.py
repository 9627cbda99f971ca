"""Sweeps make variants; a study sees those of the top level and its own."""

import pytest

from boundcheck.planning.config import ConfigError, Sources
from boundcheck.planning.sweeps import scope_of

STUDY = {"studies": {"own": {}}}


@pytest.fixture
def scope(make_config):
    def scope(config):
        sources = Sources([make_config({**STUDY, **config})])
        return scope_of(sources.merged(), "own", sources)

    return scope


def test_sweeps_make_one_variant_per_combination(scope):
    gam = {"kind": "gam", "base": {"kind": "sgd", "lr": 1}, "sweep": {"base.lr": [0.1, 0.2]}}
    mlp = {"kind": "mlp", "sweep": {"width": [4, 8], "depth": [1, 2]}}
    found = scope({"models": {"mlp": mlp}, "methods": {"gam": gam}})
    assert found.resolve("models", ["mlp"]) == [f"mlp_width{w}_depth{d}" for w in (4, 8) for d in (1, 2)]
    assert found.variants["models"]["mlp_width8_depth1"] == {"kind": "mlp", "width": 8, "depth": 1}
    assert found.variants["methods"]["gam_lr0.2"] == {"kind": "gam", "base": {"kind": "sgd", "lr": 0.2}}
    assert found.keys["methods", "gam_lr0.2"] == ("methods", "gam")


def test_a_sweep_must_not_shadow_a_variant(scope):
    with pytest.raises(ConfigError, match=r"config.yaml: models\.m\.sweep: makes 'm_width4', which is already"):
        scope({"models": {"m": {"kind": "mlp", "sweep": {"width": [4]}}, "m_width4": {"kind": "mlp"}}})


def test_a_studys_variant_hides_the_shared_one_of_its_name(scope):
    shared = {"mlp": {"kind": "mlp", "sweep": {"width": [4]}}, "net": {"kind": "resnet"}}
    found = scope({"models": shared, "studies": {"own": {"models": {"mlp": {"kind": "mlp", "width": 2}}}}})
    assert found.variants["models"] == {"mlp": {"kind": "mlp", "width": 2}, "net": {"kind": "resnet"}}
    assert found.keys["models", "mlp"] == ("studies", "own", "models", "mlp")
    assert found.keys["models", "net"] == ("models", "net")
