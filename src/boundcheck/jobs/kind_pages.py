"""What a config may name, from the dataclasses and their docstrings; and what a config asks."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from boundcheck.planning.config import ConfigError
from boundcheck.planning.job_code import REGISTRIES
from boundcheck.registry import load

FIELD = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.+(?:\n {5,}\S.*)*)", re.MULTILINE)


def kinds_text(sections: Sequence[str] = ()) -> str:
    """Markdown: for each section of the config its kinds, and for each kind a table of its fields.

    Raises:
        ConfigError: a section that does not exist.
    """
    for section in sections:
        if section not in REGISTRIES:
            raise ConfigError(f"section: got {section!r}; allowed: {', '.join(REGISTRIES)}")
    title = "# What a config may name" if not sections else ""
    lines = [title, *(line for section in sections or REGISTRIES for line in _section(section))]
    return "\n\n".join(filter(None, lines)) + "\n"


def claims_text(config: Mapping[str, Any]) -> str:
    """Markdown: for each study of a config its claims, what decides them, and where the paper states them."""
    lines = ["# What is asked of each paper"]
    for study, settings in config["studies"].items():
        rows = [
            f"| `{name}` | {claim['statement']} | `{claim['kind']}` | {claim['reference']} |"
            for name, claim in settings.get("claims", {}).items()
        ]
        lines += [
            f"## `{study}`",
            "\n".join(["| claim | statement | decided by | reference |", "|---|---|---|---|", *rows]),
        ]
    return "\n\n".join(lines) + "\n"


def _section(section: str) -> Iterator[str]:
    package, name = REGISTRIES[section]
    registry: dict[str, str] = getattr(import_module(f"boundcheck.{package}"), name)
    yield f"## `{section}`"
    for kind in sorted(registry):
        factory = load(registry, kind)
        yield f"**`{kind}`** {_summary(factory)}"
        if getattr(factory, "quantities", ""):
            yield "gives " + ", ".join(f"`{name}`" for name in factory.quantities.split())
        rows = [_row(field, _meanings(factory)) for field in dataclasses.fields(factory) if field.init]
        if rows:
            yield "\n".join(["| field | default | meaning |", "|---|---|---|", *rows])


def _summary(factory: Any) -> str:
    """The first paragraph of a kind's docstring."""
    return " ".join((inspect.getdoc(factory) or "").partition("\n\n")[0].split())


def _row(field: dataclasses.Field[Any], meanings: dict[str, str]) -> str:
    if field.default is not dataclasses.MISSING:
        default = f"`{field.default}`"
    elif field.default_factory is not dataclasses.MISSING:
        default = f"`{field.default_factory()}`"
    else:
        default = "required"
    return f"| `{field.name}` | {default} | {meanings.get(field.name, '').replace('|', chr(92) + '|')} |"


def _meanings(factory: Any) -> dict[str, str]:
    """What the docstrings of a class, of its bases and of the optimizer that it sets up say of each argument."""
    wrapper = getattr(factory, "wrapper", None)
    classes = [*inspect.getmro(factory), *(inspect.getmro(wrapper) if wrapper else ())]
    found: dict[str, str] = {}
    for member in classes:
        if member.__module__.startswith("boundcheck."):
            documents = [inspect.cleandoc(member.__doc__ or ""), inspect.getdoc(vars(member).get("__init__")) or ""]
            for name, text in (entry for document in documents for entry in _arguments(document)):
                found.setdefault(name, text)
    return found


def _arguments(document: str) -> Iterator[tuple[str, str]]:
    """Names and meanings under `Args:`."""
    for match in FIELD.finditer(document.partition("\nArgs:\n")[2].partition("\n\n")[0]):
        for name in match["names"].split(", "):
            yield name, " ".join(match["text"].split())
