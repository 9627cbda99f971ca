"""The JSON schema of the settings of a kind, made from its fields and its docstring."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from boundcheck.planning.job_code import REGISTRIES
from boundcheck.planning.schema import KIND
from boundcheck.registry import load
from boundcheck.settings import field_schemas

Schema = dict[str, Any]
FIELD = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.+(?:\n {5,}\S.*)*)", re.MULTILINE)


def registry_of(section: str) -> dict[str, str]:
    """The registry of a section of the config: kind -> "module:class"."""
    package, name = REGISTRIES[section]
    registry: dict[str, str] = getattr(import_module(f"boundcheck.{package}"), name)
    return registry


def kind_schema(section: str, kind: str) -> Schema:
    """The schema of a kind: description, allowed values and default of each setting, and which are required."""
    factory = load(registry_of(section), kind)
    properties = settings_schema(factory)
    needed = [name for name, schema in properties.items() if "default" not in schema]
    schema = {"description": summary(factory), "type": "object", "additionalProperties": False}
    if getattr(factory, "quantities", ""):
        schema["quantities"] = factory.quantities.split()
    return schema | {"properties": {"kind": {"const": kind}, **properties}, "required": ["kind", *needed]}


def settings_schema(factory: Any) -> dict[str, Schema]:
    """JSON schema of each setting of a class, with its description and default."""
    texts = meanings(factory)
    schemas = {}
    for field in dataclasses.fields(factory):
        if field.init:
            schema = field_schemas(factory)[field.name]
            if field.default_factory is not dataclasses.MISSING:
                schema["default"] = field.default_factory()
            schemas[field.name] = {"description": texts.get(field.name, ""), **_with_parts(schema)}
    return schemas


def summary(factory: Any) -> str:
    """The first paragraph of a kind's docstring."""
    return " ".join((inspect.getdoc(factory) or "").partition("\n\n")[0].split())


def meanings(factory: Any) -> dict[str, str]:
    """The description of each argument, from the docstrings of a class, its bases and its optimizer (`wrapper`)."""
    wrapper = getattr(factory, "wrapper", None)
    classes = [*inspect.getmro(factory), *(inspect.getmro(wrapper) if wrapper else ())]
    meaning_of: dict[str, str] = {}
    for member in classes:
        if member.__module__.startswith("boundcheck."):
            documents = [inspect.cleandoc(member.__doc__ or ""), inspect.getdoc(vars(member).get("__init__")) or ""]
            for name, text in (entry for document in documents for entry in _arguments(document)):
                meaning_of.setdefault(name, text)
    return meaning_of


def choice_by_kind(section: str, kinds: Mapping[str, str] | list[str]) -> list[Schema]:
    """For each kind: a rule that a variant of this kind must follow the kind's definition."""
    return [
        {
            "if": {"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/{section}.{kind}"},
        }
        for kind in sorted(kinds)
    ]


def _with_parts(schema: Schema) -> Schema:
    """For a field that holds a variant: add the definitions of the kinds that it may name."""
    if "section" not in schema:
        return schema
    section = schema.pop("section")
    kinds = schema.pop("kinds") or sorted(registry_of(section))
    return {
        **schema,
        "properties": {"kind": {"title": KIND, "enum": kinds}},
        "required": ["kind"],
        "allOf": choice_by_kind(section, kinds),
    }


def _arguments(document: str) -> Iterator[tuple[str, str]]:
    """The names and descriptions under `Args:` of a docstring."""
    for match in FIELD.finditer(document.partition("\nArgs:\n")[2].partition("\n\n")[0]):
        for name in match["names"].split(", "):
            yield name, " ".join(match["text"].split())
