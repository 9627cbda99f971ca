"""Mistakes in selectors: kinds, settings, operators, values and names that cannot be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from boundcheck.claims.shared.selection import OPERATORS
from boundcheck.data import DATASETS
from boundcheck.data.view import View
from boundcheck.plain_text import shown
from boundcheck.registry import load
from boundcheck.setting_words import allowed_words, is_number, problem
from boundcheck.settings import TrainingSettings, field_schemas

REFERENCE = ("same_as", "times")  # keys of a reference to the compared cell
SAME = "same"  # in a baseline: as the compared cell has it
LIMITS = ("at_least", "at_most", "above", "below")
NUMBER = {"type": "number"}
TRAINING = tuple(field.name for field in dataclasses.fields(TrainingSettings))


def selector_mistakes(selector: Any, registry: Mapping[str, str], common: Sequence[str]) -> Iterator[str]:
    """Errors for kinds that do not exist, settings that none of them has, and values that no setting has."""
    if isinstance(selector, str):
        return
    if not isinstance(selector, Mapping):
        for entry in selector:
            yield from selector_mistakes(entry, registry, common)
        return
    named = selector.get("kind", [])
    kinds = list(named) if isinstance(named, list | tuple | Mapping) else [named]
    for kind in kinds:
        if not isinstance(kind, str) or (kind not in registry and kind != SAME):
            yield f"no kind {shown(kind)}; allowed: {', '.join(sorted(registry))}"
            return
    known = [kind for kind in kinds if kind in registry] if not isinstance(named, Mapping) else []
    allowed = {"kind", "name", *common, *_settings(registry, *known)}
    for name, wanted in selector.items():
        if name not in allowed:
            lacks = f"{' or '.join(known)} has no" if known else "no kind has a"
            yield f"{lacks} setting {name!r}; allowed: {', '.join(sorted(allowed))}"
        elif isinstance(wanted, Mapping) and not set(wanted).isdisjoint({"kind", *_settings(registry)}):
            yield from (f"{name}: {mistake}" for mistake in selector_mistakes(wanted, registry, common))
        elif name == "name":
            texts = wanted if isinstance(wanted, list | tuple) else [wanted]
            yield from (f"name: got {shown(text)}; allowed: a text" for text in texts if not isinstance(text, str))
        else:
            paths = [registry[kind] for kind in known or registry]
            schemas = [schema for path in paths for schema in _schemas(path, name)]
            schemas += [field_schemas(View)[name]] if registry is DATASETS and name in field_schemas(View) else []
            yield from (f"{name}: {mistake}" for mistake in _value_mistakes(wanted, schemas))


def training_mistakes(selector: Any) -> Iterator[str]:
    """Errors for settings that a training does not have, and for values that none can have."""
    for part in [selector] if isinstance(selector, Mapping) else selector:
        for name, wanted in part.items():
            if name not in TRAINING:
                yield f"no setting {name!r}; allowed: {', '.join(TRAINING)}"
            else:
                schemas = [field_schemas(TrainingSettings)[name]]
                yield from (f"{name}: {mistake}" for mistake in _value_mistakes(wanted, schemas))


def _value_mistakes(wanted: Any, schemas: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Errors for unknown operators, and for values that a setting with one of these schemas never has."""
    if isinstance(wanted, Mapping):
        for key, operand in wanted.items():
            if key not in (*OPERATORS, *REFERENCE):
                yield f"unknown operator {shown(key)}; allowed: {', '.join((*OPERATORS, *REFERENCE))}"
            elif key in LIMITS and isinstance(operand, list | tuple):
                yield f"{key}: {problem(operand, NUMBER)}"
            elif not isinstance(operand, Mapping):
                known = [NUMBER] if key in LIMITS else [] if key in REFERENCE else schemas
                yield from (f"{key}: {mistake}" for mistake in _value_mistakes(operand, known))
    elif isinstance(wanted, list | tuple):
        for entry in wanted:
            yield from _value_mistakes(entry, schemas)
    elif (isinstance(wanted, str) and is_number(wanted)) or (isinstance(wanted, float) and not math.isfinite(wanted)):
        yield problem(wanted, NUMBER)
    elif wanted != SAME and schemas and not any(_allows(schema, wanted) for schema in schemas):
        yield problem(wanted, {"anyOf": list({allowed_words(schema): schema for schema in schemas}.values())})


def _allows(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a setting may have a value, or a list of which it is an entry."""
    parts = [schema, *schema.get("anyOf", ())]
    lists = [part["items"] for part in parts if part.get("type") == "array" and "items" in part]
    return any(Draft202012Validator(part).is_valid(value) for part in (schema, *lists))


def unknown_names(selector: Any, names: Collection[str]) -> Iterator[str]:
    """Errors for names or patterns that fit no variant."""
    for text in [selector] if isinstance(selector, str) else () if isinstance(selector, Mapping) else selector:
        if isinstance(text, str) and not any(fnmatchcase(name, text) for name in names):
            yield f"no name fits {text!r}; allowed: {', '.join(sorted(names))}, and patterns such as gam_*"


@cache
def _fields(path: str) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(load({"kind": path}, "kind")) if field.init)


@cache
def _schemas(path: str, name: str) -> tuple[Mapping[str, Any], ...]:
    """The schema of a setting of a kind; none, if the kind has no such setting."""
    schemas = field_schemas(load({"kind": path}, "kind"))
    return (schemas[name],) if name in schemas else ()


def _settings(registry: Mapping[str, str], *kinds: str) -> list[str]:
    """The settings of these kinds; without `kinds`, of all kinds."""
    return [name for kind in kinds or registry for name in _fields(registry[kind])]
