"""Reads YAML files. What could hang, fill memory or be misread is an error with its line and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from boundcheck.plain_text import one_line, shown

Config = dict[str, Any]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # with libyaml, ten times as fast
MAX_BYTES = 1_000_000  # of a file; those of the project have less than 20,000
MAX_DEPTH = 50  # levels of lists and mappings in each other
SAFE_DEPTH = 5_000  # levels that libyaml reads; at some 50,000 it ends the process
MAX_VALUES = 50_000  # of a file, aliases (`*name`) replaced by what they stand for
MAX_LINES = 50  # mistakes that are told at once
MAX_INTEGER = 2**63
LONGEST_NUMBER = 40  # characters
TAG = "tag:yaml.org,2002:"
STR, INT, NULL, MAP, SEQ = (f"{TAG}{name}" for name in ("str", "int", "null", "map", "seq"))
MERGE = f"{TAG}merge"  # the tag of the key `<<`
LEAF = (1, 1)
TOO_DEEP = f"more than {MAX_DEPTH} levels of lists and mappings; allowed: fewer"
TYPES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "null"}
OTHER_TYPES = {"timestamp": "a date", "set": "a set", "binary": "bytes", "omap": "an ordered mapping"}
CONVERTED = (f"{TAG}int", f"{TAG}float", f"{TAG}bool")


class ConfigError(ValueError):
    """A user's mistake in a config. The message names the file, the key, the value and what is allowed."""


def all_mistakes(lines: Iterable[str]) -> ConfigError:
    """One error with a line for each mistake, MAX_LINES at most."""
    unique = list(dict.fromkeys(lines))
    rest = len(unique) - MAX_LINES
    return ConfigError("\n".join([*unique[:MAX_LINES], *([f"and {rest:,} more mistakes"] if rest > 0 else [])]))


def read_file(file: Path) -> Config:
    """Read one YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, is not a mapping, or holds what no config may hold.
    """
    try:
        content = _load(_text(file))
    except ConfigError as error:
        raise ConfigError(one_line(f"{file}: {error}")) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{one_line(str(file))}: must be a mapping of keys, got {type(content).__name__}")
    return content


def read_scalars(value: Any, depth: int = 0) -> Any:
    """The values of `--config` with numbers read as numbers: inside a mapping, Snakemake passes them as texts."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"--config: got more than {MAX_DEPTH} levels of lists and mappings; allowed: fewer")
    if isinstance(value, Mapping):
        return {key: read_scalars(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, list):
        return [read_scalars(entry, depth + 1) for entry in value]
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        raise ConfigError("--config: got a whole number of 2^63 or more; allowed: smaller ones")
    try:
        scalar = _load(value) if isinstance(value, str) else value
    except ConfigError:
        return value
    return value if isinstance(scalar, dict | list) else scalar


def dotted(keys: Sequence[Any]) -> str:
    """The position of a value in one line, such as `studies.gam.grid[0]`."""
    return one_line("".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip("."))


def _text(file: Path) -> str:
    try:
        if file.exists() and not file.is_file():
            what = "a folder" if file.is_dir() else "a pipe or a device"
            raise ConfigError(f"cannot be read: it is {what}; allowed: a YAML file")
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"has more than {MAX_BYTES:,} bytes, the most that a config may have")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ConfigError(f"is no text in UTF-8 (byte {byte:#04x} at {error.start}); save it as UTF-8") from None
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"cannot be read ({error})") from None  # the name has a zero byte


def _load(text: str) -> Any:
    """Read YAML.

    Keys are compared before merges (`<<`) are applied, because a merged key may be overridden. By default the last of
    two equal keys silently wins.
    """
    try:
        if text.count("[") + text.count("{") + 2 * max(map(len, text.split("\n"))) > SAFE_DEPTH:
            _refuse_nesting(text)
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _weigh(node, (), {}, loader)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        where = " ".join(str(error).split()).replace('"<unicode string>", ', "").replace('"<byte string>", ', "")
        raise ConfigError(f"not valid YAML: {where}") from None


def _refuse_nesting(text: str) -> None:
    """Raise a ConfigError for a text with too many levels, without reading all of them at once."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _mistake(event, (), TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _weigh(node: Any, keys: tuple[Any, ...], known: dict[int, tuple[int, int]], loader: Any) -> tuple[int, int]:
    """The number of values and of levels in a node, aliases replaced. Raises a ConfigError if the node is refused."""
    if node.tag == STR:
        return LEAF
    if id(node) in known:
        if known[id(node)] == (0, 0):
            raise _mistake(node, keys, "it holds itself, through an alias (`*name`)")
        return known[id(node)]
    if len(keys) > MAX_DEPTH:
        raise _mistake(node, (), TOO_DEEP)
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, keys, loader)
        return LEAF
    known[id(node)] = (0, 0)
    if isinstance(node, yaml.SequenceNode):
        children = [_weigh(child, (*keys, index), known, loader) for index, child in enumerate(node.value)]
    else:
        names = _key_names(node, keys)
        pairs = zip(names, node.value, strict=True)
        children = [_weigh(value, (*keys, name), known, loader) for name, (_, value) in pairs]
    if node.tag not in (MAP, SEQ):
        raise _mistake(node, keys, f"got {_type(node)}; allowed: a list or a mapping")
    size, depth = 1 + sum(size for size, _ in children), 1 + max((depth for _, depth in children), default=0)
    if size > MAX_VALUES or depth > MAX_DEPTH:
        problem = "it holds more than {:,} {} once its aliases (`*name`) are replaced; allowed: fewer"
        what = (MAX_VALUES, "values") if size > MAX_VALUES else (MAX_DEPTH, "levels of lists and mappings")
        raise _mistake(node, keys, problem.format(*what))
    known[id(node)] = (size, depth)
    return size, depth


def _key_names(node: Any, keys: tuple[Any, ...]) -> list[str]:
    """The keys of a mapping, which must be texts, each once."""
    lines: dict[str, int] = {}
    names = []
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _mistake(key, keys, "got a list or a mapping as a key; allowed: a name")
        if key.tag not in (STR, MERGE):
            problem = f"got the key {key.value[:40]}, which YAML reads as {_type(key)}; allowed: a name"
            raise _mistake(key, keys, f'{problem}, in quotes ("{key.value[:40]}") if it is meant as one')
        line = _line(key)
        if key.value in lines and key.tag != MERGE:
            where = f"line {line}" if lines[key.value] == line else f"lines {lines[key.value]} and {line}"
            raise yaml.YAMLError(f"the key {shown(key.value)} occurs twice, in {where}")
        lines[key.value] = line
        names.append(key.value)
    return names


def _check_scalar(node: Any, keys: tuple[Any, ...], loader: Any) -> None:
    """Refuse dates and other values that are no config's, and numbers that are not what they look like."""
    if node.tag not in CONVERTED:
        if node.tag not in (STR, NULL):
            allowed = "texts, numbers, true, false and null; a text in quotes"
            raise _mistake(
                node, keys, f"got {shown(node.value)}, which YAML reads as {_type(node)}; allowed: {allowed}"
            )
        return
    try:
        value = loader.construct_object(node) if len(node.value) <= LONGEST_NUMBER else MAX_INTEGER
    except (ValueError, KeyError, OverflowError):
        raise _mistake(node, keys, f"got {shown(node.value)}; allowed after this tag: {_type(node)}") from None
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        allowed = "whole numbers below 2^63" if node.tag == INT else f"at most {LONGEST_NUMBER}"
        raise _mistake(node, keys, f"got a number of {len(node.value)} digits; allowed: {allowed}")
    digits = node.value.lstrip("+-").replace("_", "")
    is_octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
    if ":" in digits or is_octal:
        raise _mistake(node, keys, f'got {node.value}, which YAML reads as {value}; write {value}, or "{node.value}"')


def _type(node: Any) -> str:
    name = node.tag.removeprefix(TAG)
    return {**TYPES, **OTHER_TYPES}.get(name, f"a value with the tag {shown(name)}")


def _mistake(node: Any, keys: Sequence[Any], problem: str) -> ConfigError:
    where = f"{dotted(keys)}: " if keys else ""
    return ConfigError(f"line {_line(node)}: {where}{one_line(problem)}")


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
