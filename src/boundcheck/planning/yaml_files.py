"""Reads YAML files. A key that occurs twice in a mapping is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # with libyaml, ten times as fast
MERGE = "tag:yaml.org,2002:merge"  # the tag of the key `<<`


class ConfigError(ValueError):
    """A user's mistake in a config. The message names the file, the key, the value and what is allowed."""


def read_file(file: Path) -> Config:
    """Read one YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = _load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must be a mapping of keys, got {type(content).__name__}")
    return content


def read_scalars(value: Any) -> Any:
    """The values of `--config` with numbers read as numbers: inside a mapping, Snakemake passes them as texts."""
    if isinstance(value, Mapping):
        return {key: read_scalars(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [read_scalars(entry) for entry in value]
    try:
        scalar = yaml.load(value, LOADER) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value
    return value if isinstance(scalar, dict | list) else scalar


def _load(text: str) -> Any:
    """Read YAML; raise an error if a key occurs twice in a mapping (by default the last one silently wins).

    The keys are compared before merges (`<<`) are applied, because a merged key may be overridden.
    """
    loader = LOADER(text)
    try:
        node = loader.get_single_node()
        _refuse_twins(node, set())
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_twins(node: Any, seen: set[int]) -> None:
    """Raise a YAMLError if a mapping in `node` has a key twice. `seen` are the ids of the nodes already checked."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    else:
        children = [child for pair in node.value for child in pair]
        lines: dict[tuple[str, str], int] = {}
        for key in children[::2]:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                where = f"line {line}" if lines[name] == line else f"lines {lines[name]} and {line}"
                raise yaml.YAMLError(f"the key {key.value!r} occurs twice, in {where}")
            lines[name] = line
    for child in children:
        _refuse_twins(child, seen)
