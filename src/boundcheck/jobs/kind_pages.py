"""The pages config/kinds.md (all kinds with their settings) and config/claims.md (the claims of a config)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boundcheck.data.view import View
from boundcheck.jobs.config_schema import training_schema
from boundcheck.jobs.kind_schemas import kind_schema, registry_of, settings_schema
from boundcheck.planning.claims import words_of
from boundcheck.planning.config import ConfigError
from boundcheck.planning.job_code import REGISTRIES
from boundcheck.setting_words import allowed_words, as_written


def kinds_text(sections: Sequence[str] = ()) -> str:
    """Markdown: the kinds of each section of the config, with a table of the fields of each kind.

    Raises:
        ConfigError: a section does not exist.
    """
    known = (*REGISTRIES, "training")
    for section in sections:
        if section not in known:
            raise ConfigError(f"section: got {section!r}; allowed: {', '.join(known)}")
    title = "# What a config may name" if not sections else ""
    lines = [title, *(line for section in sections or known for line in _section(section))]
    return "\n\n".join(filter(None, lines)) + "\n"


def claims_text(config: Mapping[str, Any]) -> str:
    """Markdown: the claims of each study of a config, the kinds that decide them, and where the paper states them."""
    lines = ["# The claims of each paper"]
    for study, settings in config["studies"].items():
        rows = [
            f"| `{name}` | {words_of(claim)['statement']} | `{claim['kind']}` | {claim['reference']} |"
            for name, claim in settings.get("claims", {}).items()
        ]
        lines += [
            f"## `{study}`",
            "\n".join(["| claim | statement | decided by | reference |", "|---|---|---|---|", *rows]),
        ]
    return "\n\n".join(lines) + "\n"


def _section(section: str) -> Iterator[str]:
    yield f"## `{section}`"
    if section == "training":
        yield "The key `training` of a grid block; a method may override single settings."
        yield _table(training_schema()["properties"])
        return
    if section == "datasets":
        yield "Every dataset may have these settings besides those of its kind:"
        yield _table(settings_schema(View))
    for kind in sorted(registry_of(section)):
        schema = kind_schema(section, kind)
        yield f"**`{kind}`** {schema['description']}"
        if "quantities" in schema:
            yield "Quantities: " + ", ".join(f"`{name}`" for name in schema["quantities"])
        fields = {name: field for name, field in schema["properties"].items() if name != "kind"}
        if fields:
            yield _table(fields)


def _table(fields: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [_row(name, schema) for name, schema in fields.items()]
    return "\n".join(["| field | may be | default | meaning |", "|---|---|---|---|", *rows])


def _row(name: str, schema: Mapping[str, Any]) -> str:
    default = f"`{as_written(schema['default'])}`" if "default" in schema else "required"
    cells = (f"`{name}`", allowed_words(schema), default, schema["description"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
