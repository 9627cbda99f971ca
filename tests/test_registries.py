"""What every entry of every registry must be: documented, frozen settings that offer what its contract asks."""

import dataclasses
from importlib import import_module

import pytest

from boundcheck.jobs.kind_pages import _meanings, claims_text, kinds_text
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
def test_its_settings_are_frozen(section, kind):
    """A recorder may keep what it has seen so far, in fields that are no settings."""
    factory = factory_of(section, kind)
    keeps_state = any(not field.init for field in dataclasses.fields(factory))
    assert factory.__dataclass_params__.frozen or (section == "record" and keeps_state)


@entries
def test_every_setting_is_explained(section, kind):
    factory = factory_of(section, kind)
    assert factory.__doc__
    unexplained = {field.name for field in dataclasses.fields(factory) if field.init} - set(_meanings(factory))
    assert not unexplained


def test_the_pages_of_kinds_and_claims_are_up_to_date(request):
    config = request.config.rootpath / "config"
    assert (config / "kinds.md").read_text(encoding="utf-8") == kinds_text(), "run `make docs`"
    claims = claims_text(Sources([config / "config.yaml"]).merged())
    assert (config / "claims.md").read_text(encoding="utf-8") == claims, "run `make docs`"
