"""What every entry of every registry must be: documented, frozen settings that offer what its contract asks."""

import dataclasses
import json
from importlib import import_module

import pytest

from boundcheck.jobs.config_schema import config_schema
from boundcheck.jobs.kind_pages import claims_text, kinds_text
from boundcheck.jobs.kind_schemas import summary
from boundcheck.planning.config import Sources
from boundcheck.planning.job_code import REGISTRIES
from boundcheck.registry import load

OFFERS = {
    "datasets": ("fetch", "load"),
    "models": ("build", "stackable"),
    "methods": ("prepare", "optimizer", "num_gradients", "second_order"),
    "analyses": ("measure", "quantities"),
    "record": ("on_step", "on_epoch", "needs_gradient", "quantities"),
    "checks": ("rows",),
    "claims": ("decide",),
}
ENTRIES = [
    (section, kind)
    for section, (package, name) in REGISTRIES.items()
    for kind in getattr(import_module(f"boundcheck.{package}"), name)
]


def factory_of(section, kind):
    package, name = REGISTRIES[section]
    return load(getattr(import_module(f"boundcheck.{package}"), name), kind)


entries = pytest.mark.parametrize(("section", "kind"), ENTRIES)


@entries
def test_it_offers_what_the_contract_asks(section, kind):
    factory = factory_of(section, kind)
    assert dataclasses.is_dataclass(factory)
    for name in OFFERS[section]:
        assert hasattr(factory, name), name


@entries
def test_it_is_explained(section, kind):
    assert summary(factory_of(section, kind))


def test_what_is_made_from_the_kinds_is_up_to_date(request):
    schema = request.config.rootpath / "src" / "boundcheck" / "planning" / "config.schema.json"
    assert json.loads(schema.read_text(encoding="utf-8")) == config_schema(), "run `make docs`"


def test_the_pages_of_kinds_and_claims_are_up_to_date(request):
    config = request.config.rootpath / "config"
    assert (config / "kinds.md").read_text(encoding="utf-8") == kinds_text(), "run `make docs`"
    training = {line.split("|")[1].strip(" `"): line for line in kinds_text(["training"]).splitlines() if "|" in line}
    assert "the name of a dataset of kind teacher | `null`" in training["teacher"]
    assert "x2, x4, ... times the epochs of the block" in training["epochs"]
    claims = claims_text(Sources([config / "config.yaml"]).merged())
    assert (config / "claims.md").read_text(encoding="utf-8") == claims, "run `make docs`"
