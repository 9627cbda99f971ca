"""Reading YAML files, in which a key that stands twice is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
MERGE = "tag:yaml.org,2002:merge"  # the tag of the key `<<`


class ConfigError(ValueError):
    """A user's mistake in a config: names the file, the key, the value and what is allowed."""


def read_file(file: Path) -> Config:
    """One YAML file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or is no mapping.
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
    """The values of `--config`, whose numbers Snakemake hands over as texts where they stand inside a mapping."""
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
    """YAML, but a key that stands twice in a mapping is an error and not silently the last one.

    Nodes are walked as they are written, before merges (`<<`) are worked into them: a merged key may be overridden.
    """
    loader = LOADER(text)
    try:
        node = loader.get_single_node()
        _refuse_twins(node, set())
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_twins(node: Any, seen: set[int]) -> None:
    """Raise a YAMLError at a key that a mapping in `node` has twice; `seen` holds the nodes that were walked."""
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
                raise yaml.YAMLError(f"the key {key.value!r} stands twice, in {where}")
            lines[name] = line
    for child in children:
        _refuse_twins(child, seen)
