"""Every setting of every kind: what its type says is what its class, its schema and its message say."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from boundcheck.data.augment import Augment
from boundcheck.data.view import View
from boundcheck.jobs.kind_schemas import meanings, registry_of
from boundcheck.planning.job_code import REGISTRIES
from boundcheck.registry import VIEW_KEYS, build, load
from boundcheck.setting_words import refusal
from boundcheck.settings import Count, Positive, Share, TrainingSettings, check, field_schemas, settings, words

SECTIONS = list(REGISTRIES)
KINDS = [load(registry_of(section), kind) for section in SECTIONS for kind in registry_of(section)]
CLASSES = [*dict.fromkeys(KINDS), View, Augment, TrainingSettings]
VALUES = ["no such word", "1e-3", "", None, True, math.nan, math.inf, -math.inf, -1, 0, 1, 1.5, 10**9]
VALUES += [[], [-1], [0.5], ["no such word"], [[-1]], {}, {"kind": "no such kind"}]
IS_INTEGER = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
IS_NUMBER = IS_INTEGER.redefine("number", lambda _, value: type(value) in (int, float) and math.isfinite(value))
Strict = extend(Draft202012Validator, type_checker=IS_NUMBER)

kinds = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def an_allowed_value(schema):
    """Some value that a schema allows."""
    candidates = [*schema.get("enum", []), schema.get("default"), *VALUES, 0.5, "text", [1], [1, 2], [0.5, 0.5]]
    return next(value for value in candidates if value is not None and Strict(schema).is_valid(value))


def edges(schema):
    """Numbers at the ends of the ranges in a schema, and beyond."""
    parts = [schema, *schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    ends = [part[key] for part in parts for key in part if key.endswith(("imum", "Minimum", "Maximum"))]
    return [value for end in ends for value in (end, float(end), end - 1, end + 1)]


@kinds
def test_its_settings_are_checked_and_frozen(kind):
    """A recorder may keep what it has seen so far, in fields that are no settings."""
    assert hasattr(kind, "__pydantic_validator__"), "make it with boundcheck.settings.settings"
    keeps_state = any(not field.init for field in dataclasses.fields(kind))
    assert kind.__dataclass_params__.frozen or keeps_state


@kinds
def test_a_setting_is_explained_and_has_a_type_that_the_schema_can_say(kind):
    explained = meanings(kind)
    for name, schema in field_schemas(kind).items():
        assert explained.get(name), f"{name}: say under `Args:` what it is"
        assert {"type", "enum", "const", "anyOf"} & set(schema), f"{name}: give it a type"
        is_open = schema.get("additionalProperties") is True and kind is not TrainingSettings
        assert not is_open, f"{name}: say what the mapping holds, or which kinds it may name (settings.among)"


@kinds
def test_what_the_schema_does_not_allow_is_refused_in_its_words_and_nothing_else_is(kind):
    """Other reasons to refuse a value are conditions between settings, and say something else."""
    schemas = field_schemas(kind)
    needed = {name: an_allowed_value(schema) for name, schema in schemas.items() if "default" not in schema}
    for name, schema in schemas.items():
        for value in [*VALUES, *edges(schema)]:
            expected = refusal(name, value, schema)
            try:
                kind(**{**needed, name: value})
                message = ""
            except ValueError as error:
                message = str(error)
            assert (message == expected) == (not Strict(schema).is_valid(value)), (value, message, expected)


def test_a_dataset_has_the_keys_of_a_view_beside_its_own():
    assert tuple(field.name for field in dataclasses.fields(View)) == VIEW_KEYS


@settings
class Ridge:
    """An example."""

    strength: Positive
    form: Literal["primal", "dual"] = "primal"
    weights: list[Share] | None = None
    rounds: Count | Literal["all"] = "all"

    def __post_init__(self) -> None:
        if self.form == "dual" and self.weights:
            raise ValueError("weights: got some; allowed: none, with form dual")


@settings(frozen=False)
class Counter:
    """An example that keeps a state."""

    every: Count = 1
    _seen: "NoSuchType" = dataclasses.field(init=False, default_factory=list)  # noqa: F821


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strength": 0}, "strength: got 0; allowed: a number > 0"),
        ({"strength": "1e-3"}, "strength: got '1e-3'; allowed: a number > 0; write 1.0e-3, YAML reads 1e-3 as text"),
        ({"strength": "2"}, "strength: got '2'; allowed: a number > 0; write 2 without quotes"),
        ({"strength": 1, "form": "both"}, "form: got 'both'; allowed: one of primal, dual"),
        ({"strength": 1, "weights": [2]}, "weights: got [2]; allowed: a list of numbers in [0, 1] or null"),
        ({"strength": 1, "rounds": 1.0}, "rounds: got 1.0; allowed: a whole number >= 1 or all"),
        ({"strength": 1, "form": "dual", "weights": [1]}, "weights: got some; allowed: none, with form dual"),
        ({}, "strength: Ridge needs this setting"),
        ({"strength": 1, "size": 1}, "size: Ridge has no such setting; allowed: strength, form, weights, rounds"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(values, message):
    with pytest.raises(ValueError) as caught:
        Ridge(**values)
    assert str(caught.value) == message


def test_settings_may_be_given_in_order():
    assert Ridge(2, "dual") == Ridge(strength=2.0, form="dual")
    with pytest.raises(ValueError, match="form: got 3; allowed: one of primal, dual"):
        Ridge(1.0, 3)


def test_what_keeps_a_state_may_change_it():
    counter = Counter(2)
    counter._seen.append(1)
    assert counter._seen == [1]
    assert Counter()._seen == []
    with pytest.raises(dataclasses.FrozenInstanceError):
        Ridge(1.0).strength = 2.0


def test_arguments_of_an_optimizer_are_checked_alike():
    check("rho", 0.1, Positive)
    with pytest.raises(ValueError, match=r"^rho: got -1; allowed: a number > 0$"):
        check("rho", -1, Positive)
    assert words(Count) == "a whole number >= 1"


def test_a_variant_is_refused_by_the_kind_that_it_names():
    methods = registry_of("methods")
    sam = {"kind": "sam", "rho": 0.1, "base": {"kind": "sgd", "lr": "1e-1"}}
    for variant, message in (
        (sam, "^base: lr: got '1e-1'; allowed: a number > 0; write 1.0e-1, YAML reads 1e-1 as text$"),
        (sam | {"base": 1}, "^base: got 1; allowed: a variant, {kind: sgd, adamw, and its settings}$"),
        ({"kind": "sam", "rho": 0.1}, "^base: sam needs this setting$"),
        (sam | {"roh": 1}, "^roh: sam has no such setting; allowed: base, rho, adaptive, rho_min, rho_warmup$"),
        ({"kind": "sma"}, "^unknown kind 'sma'; allowed: adamw, "),
    ):
        with pytest.raises(ValueError, match=message):
            build(methods, variant)
    assert isinstance(build(methods, sam | {"base": {"kind": "sgd", "lr": 1}}).base, Mapping)
