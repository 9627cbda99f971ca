"""The schema of a config: what a mistake in it is called, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from boundcheck.planning.config import Config, ConfigError, Sources

FILE = Path(__file__).with_name("config.schema.json")
WORDS = {
    "object": "a mapping of keys",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a config, its layers merged."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def training_defaults() -> dict[str, Any]:
    """The settings of a training that neither a block nor a method gives."""
    properties = schema()["$defs"]["training"]["properties"]
    defaults = {key: definition.get("default") for key, definition in properties.items()}
    return {key: value for key, value in defaults.items() if value is not None}


def validate_schema(config: Config, sources: Sources) -> None:
    """Check a merged config against the JSON schema.

    Raises:
        ConfigError: every problem, in words, one a line.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import relevance
    from jsonschema.validators import extend

    integers = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    numbers = integers.redefine("number", lambda _, value: type(value) in (int, float) and math.isfinite(value))
    validator = extend(Draft202012Validator, type_checker=numbers)(schema())
    messages: list[str] = []
    for error in validator.iter_errors(config):
        while error.context and not _is_of_the_value_itself(error):
            error = max(error.context, key=relevance)
        messages += [str(sources.error(keys, problem)) for keys, problem in _explain(error, config)]
    if messages:
        raise ConfigError("\n".join(dict.fromkeys(messages)))


def _is_of_the_value_itself(error: Any) -> bool:
    """Whether a choice of forms that a description names was missed as a whole, not by something inside one form."""
    return "description" in error.schema and all(part.absolute_path == error.absolute_path for part in error.context)


def _explain(error: Any, config: Config) -> Iterator[tuple[list[Any], str]]:
    """The keys that a schema error is about, each with what is wrong there."""
    keys, allowed = [*error.absolute_path], error.validator_value
    got = f"got {error.instance!r}"
    hint = number_hint(error.instance) if _wants_number(error.schema) else ""
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            for key in sorted(set(error.instance) - set(known), key=str):
                yield [*keys, key], f"unknown key; allowed: {', '.join(known)}"
        case "required":
            missing = [key for key in allowed if key not in error.instance]
            beside = _variants_beside(keys, config) if missing == ["kind"] else ""
            yield keys, f"missing key {', '.join(map(repr, missing))}{beside}"
        case "enum":
            yield keys, f"{got}; allowed: {', '.join(map(str, allowed))}"
        case "type" if "description" not in error.schema:
            words = " or ".join(WORDS[name] for name in _types(error.schema))
            yield keys, f"{got}; allowed: {words}{hint}"
        case _:
            text = error.schema.get("description", f"{error.validator} {allowed}")
            yield keys, f"{got}; allowed: {text}{hint}"


def _wants_number(definition: Mapping[str, Any]) -> bool:
    """Whether one of the forms of a value is a number."""
    forms = [definition, *definition.get("anyOf", ())]
    return any(name in ("number", "integer") for form in forms for name in _types(form))


def _types(definition: Mapping[str, Any]) -> list[str]:
    types = definition.get("type", [])
    return [types] if isinstance(types, str) else types


def number_hint(value: Any) -> str:
    """How to write a number that YAML read as a text: `1e-3`, which has no point, as `1.0e-3`."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    mantissa, _, exponent = value.strip().lower().partition("e")
    if not exponent:
        return f"; it is a text here, write {value.strip()} without quotes"
    sign = "" if exponent[0] in "+-" else "+"
    point = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"; YAML reads a text here, write {point}e{sign}{exponent}"


def _variants_beside(keys: Sequence[Any], config: Config) -> str:
    """What to write instead of the name of a variant that has no kind; "" where `keys` lead into a list."""
    if any(isinstance(key, int) for key in keys):
        return ""
    beside: dict[str, Any] = {}
    for section in (keys[-2:-1], keys[:-1]):  # those at the top level are seen as well
        found: Any = config
        for key in section:
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        beside |= found if isinstance(found, Mapping) else {}
    known = sorted(str(name) for name, variant in beside.items() if isinstance(variant, Mapping) and "kind" in variant)
    return f", which a new variant needs; variants there are: {', '.join(known) or 'none'}"
