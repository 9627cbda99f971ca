"""Checks a config against its JSON schema, and explains mistakes in words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from boundcheck.planning.config import Config, Sources
from boundcheck.planning.yaml_files import all_mistakes
from boundcheck.setting_words import problem

FILE = Path(__file__).with_name("config.schema.json")
KIND = "kind"  # title of the schema of the name of a kind
DECIDING = ("#/$defs/checks.", "#/$defs/claims.")  # checked by `boundcheck validate` only
DISTILLATION = ("teacher", "temperature", "label_weight")  # settings of that loss alone


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a config, its layers merged."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def training_defaults() -> dict[str, Any]:
    """The default values of the settings of a training."""
    properties = schema()["$defs"]["training"]["properties"]
    defaults = {key: definition.get("default") for key, definition in properties.items()}
    return {key: value for key, value in defaults.items() if value is not None and key not in DISTILLATION}


def most_epochs() -> int:
    """The largest number of epochs of a training."""
    return int(schema()["$defs"]["training"]["properties"]["epochs"]["anyOf"][0]["maximum"])


def validate_schema(config: Config, sources: Sources) -> None:
    """Check a merged config against the JSON schema.

    Raises:
        ConfigError: one line for every problem, in words.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    integers = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    numbers = integers.redefine("number", lambda _, value: _is_number(value))
    checks = {"complete": Draft202012Validator.VALIDATORS["required"], "allOf": _of_its_kind}
    validator = extend(Draft202012Validator, checks, type_checker=numbers)(schema())
    messages: list[str] = []
    for error in validator.iter_errors(config):
        while any(part.absolute_path != error.absolute_path for part in error.context):
            error = max(error.context, key=lambda part: len(part.absolute_path))  # of the value's own type
        if not _may_be_newer(error):
            messages += [str(sources.error(keys, text)) for keys, text in _explain(error, config)]
    if messages:
        raise all_mistakes(messages)


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _of_its_kind(validator: Any, choices: Sequence[Any], instance: Any, _: Any) -> Iterator[Any]:
    """The errors of a variant by the definition of its kind. In this schema, `allOf` only holds such choices."""
    kind = instance.get("kind") if isinstance(instance, Mapping) else None
    for choice in choices:
        is_left = choice["then"]["$ref"].startswith(DECIDING)
        if choice["if"]["properties"]["kind"]["const"] == kind and not is_left:
            yield from validator.descend(instance, choice["then"])


def _may_be_newer(error: Any) -> bool:
    """Whether the error is about a kind or setting that the schema file lacks, but that newer code may have."""
    if error.validator == "enum":
        return error.schema.get("title") == KIND and isinstance(error.instance, str)
    return error.validator == "additionalProperties" and "const" in error.schema["properties"].get("kind", {})


def _explain(error: Any, config: Config) -> Iterator[tuple[list[Any], str]]:
    """The position and the explanation of each mistake of a schema error."""
    keys, allowed = [*error.absolute_path], error.validator_value
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            for key in sorted(set(error.instance) - set(known), key=str):
                yield [*keys, key], f"unknown key; allowed: {', '.join(known)}"
        case "required" | "complete":
            missing = [key for key in allowed if key not in error.instance]
            beside = _variants_beside(keys, config) if error.validator == "complete" and missing == ["kind"] else ""
            yield keys, f"missing key {', '.join(map(repr, missing))}{beside}"
        case _:
            yield keys, problem(error.instance, error.schema)


def _variants_beside(keys: Sequence[Any], config: Config) -> str:
    """For a variant without a kind: a text that lists the variants it could change; "" if `keys` lead into a list."""
    if any(isinstance(key, int) for key in keys):
        return ""
    beside: dict[str, Any] = {}
    for section in (keys[-2:-1], keys[:-1]):  # variants at the top level, and those of the study
        entries: Any = config
        for key in section:
            entries = entries.get(key, {}) if isinstance(entries, Mapping) else {}
        beside |= entries if isinstance(entries, Mapping) else {}
    known = sorted(str(name) for name, variant in beside.items() if isinstance(variant, Mapping) and "kind" in variant)
    return f", which a new variant needs; variants there are: {', '.join(known) or 'none'}"
