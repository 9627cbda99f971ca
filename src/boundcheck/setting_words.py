"""What a setting may be, in words, from its JSON schema: "a number > 0", "one of a, b"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from boundcheck.plain_text import shown

Schema = Mapping[str, Any]

LOWER = {"minimum": ">=", "exclusiveMinimum": ">"}
UPPER = {"maximum": "<=", "exclusiveMaximum": "<"}
ONE = {"number": "a number", "integer": "a whole number", "string": "a text", "object": "a mapping"}
MANY = {"number": "numbers", "integer": "whole numbers", "string": "texts", "object": "mappings"}
SHORT_EXPONENT = re.compile(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)")  # YAML wants a point and a sign: 1.0e-3


def allowed_words(schema: Schema) -> str:
    """What a JSON schema allows, in the words that follow `allowed:` in a message.

    A schema may have a key `words`, which is used instead of the other keys.
    """
    if "words" in schema:
        return str(schema["words"])
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(allowed_words(part) for part in schema.get("anyOf") or schema["oneOf"])
    if "const" in schema:
        return as_written(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(as_written, schema['enum']))}"
    form = schema.get("type")
    if isinstance(form, list):
        return " or ".join(allowed_words({**schema, "type": one}) for one in form)
    match form:
        case "number" | "integer":
            return ONE[form] + _range(schema)
        case "array":
            return f"a list{_length(schema)}"
        case "boolean":
            return "true or false"
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            return f"a mapping from names to {_several(schema['additionalProperties'])}"
        case "null":
            return "null"
        case _:
            return ONE.get(str(form), "anything")


def refusal(key: str, value: object, schema: Schema) -> str:
    """The message for a value that a schema does not allow: `key: got VALUE; allowed: WORDS`."""
    return f"{key}: {problem(value, schema)}"


def problem(value: object, schema: Schema) -> str:
    """What is wrong with a value that a schema does not allow: `got VALUE; allowed: WORDS`."""
    return f"got {shown(value)}; allowed: {allowed_words(schema)}{_advice(value, schema)}"


def as_written(value: object) -> str:
    """A value as YAML writes it: true, null, cosine, 0.5, [1, 2]."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(as_written, value))}]"
    text = str(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


def _range(schema: Schema) -> str:
    """' > 0', ' in [0, 1)' or nothing."""
    lower = [(sign, schema[key]) for key, sign in LOWER.items() if key in schema]
    upper = [(sign, schema[key]) for key, sign in UPPER.items() if key in schema]
    if lower and upper:
        (low_sign, low), (high_sign, high) = lower[0], upper[0]
        return f" in {'[' if low_sign == '>=' else '('}{_bound(low)}, {_bound(high)}{']' if high_sign == '<=' else ')'}"
    return "".join(f" {sign} {_bound(bound)}" for sign, bound in lower + upper)


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _length(schema: Schema) -> str:
    """' of 2 numbers > 0', ' of at least one text' and the like: what a list holds, and how much of it."""
    items, least, most = schema.get("items", {}), schema.get("minItems", 0), schema.get("maxItems")
    if least and least == most:
        return f" of {least} {_several(items)}"
    if most and not least:
        return f" of at most {most} {_several(items)}"
    if most:
        return f" of {least} to {most} {_several(items)}"
    if least:
        return f" of at least {least} {_several(items)}" if least > 1 else f" of {_several(items)}, not empty"
    return f" of {_several(items)}"


def _several(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(_several(part) for part in schema["anyOf"])
    if "words" in schema:
        return f"entries, each {schema['words']}"
    if "enum" in schema or "const" in schema:
        return f"entries out of {', '.join(map(as_written, schema.get('enum', [schema.get('const')])))}"
    form = str(schema.get("type"))
    if form == "array":
        return f"lists{_length(schema)}"
    return MANY.get(form, "entries") + (_range(schema) if form in ("number", "integer") else "")


def _advice(value: object, schema: Schema) -> str:
    """How to write a number that YAML reads as a text."""
    texts = [entry for entry in (value if isinstance(value, list | tuple) else [value]) if isinstance(entry, str)]
    for text in texts:
        if _wants_number(schema) and is_number(text):
            match = SHORT_EXPONENT.fullmatch(text.strip())
            if match is None:
                return f"; write {text} without quotes"
            whole, point, sign, exponent = match.groups()
            return f"; write {whole}{point or '.0'}e{sign or '+'}{exponent}, YAML reads {text} as text"
    return ""


def _wants_number(schema: Schema) -> bool:
    parts = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return schema.get("type") in ("number", "integer") or any(map(_wants_number, parts))


def is_number(text: str) -> bool:
    """Whether a text is a finite number, such as 1e-3, which YAML reads as a text."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
