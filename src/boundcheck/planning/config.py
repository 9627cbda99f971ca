"""Reading a config: files merged as Snakemake merges them, checked against the schema, sweeps expanded. No torch."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]
WORDS = {
    "object": "a mapping of keys",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
MERGE = "tag:yaml.org,2002:merge"  # the tag of the key `<<`
VARIANTS = ("datasets", "models", "methods", "analyses")
NAME = re.compile(r"(?!.*\.\.)[A-Za-z][A-Za-z0-9_+.-]{0,63}")  # as the schema has it; a name is a folder


class ConfigError(ValueError):
    """A user's mistake in a config: names the file, the key, the value and what is allowed."""


class Sources:
    """The config files in the order of merging, to say in which file a key stands."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        here = Path.cwd()
        paths = [Path(file) for file in files]
        self.files = [path.relative_to(here) if path.is_relative_to(here) else path for path in paths]
        self.contents = [read_file(file) for file in self.files]

    def merged(self) -> Config:
        """All files merged: dictionaries entry by entry, everything else replaced."""
        merged: Config = {}
        for content in self.contents:
            _merge(merged, content)
        return merged

    def belongs_to_scale(self, keys: Sequence[Any]) -> bool:
        """Whether the last file that gives a `name`, or a later one, sets the value at `keys`."""
        named = [number for number, content in enumerate(self.contents) if "name" in content]
        return any(_has(content, keys) for content in self.contents[named[-1] if named else 0 :])

    def error(self, keys: Sequence[Any], problem: str) -> ConfigError:
        """An error about the value at `keys`, with the last file that sets it."""
        for length in range(len(keys), 0, -1):
            for file, content in zip(reversed(self.files), reversed(self.contents), strict=True):
                if _has(content, keys[:length]):
                    return ConfigError(f"{file}: {_dotted(keys)}: {problem}")
        where = self.files[-1] if self.files else "config"
        return ConfigError(f"{where}: {_dotted(keys) or 'the config'}: {problem}")


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


def validate_schema(config: Config, schema_file: Path, sources: Sources) -> None:
    """Check a merged config against the JSON schema.

    Raises:
        ConfigError: every problem, in words, one a line.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import relevance
    from jsonschema.validators import extend

    schema = yaml.load(schema_file.read_text(encoding="utf-8"), LOADER)
    integers = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    numbers = integers.redefine("number", lambda _, value: type(value) in (int, float) and math.isfinite(value))
    validator = extend(Draft202012Validator, type_checker=numbers)(schema)
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
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            for key in sorted(set(error.instance) - set(known)):
                yield [*keys, key], f"unknown key; allowed: {', '.join(known)}"
        case "required":
            missing = [key for key in allowed if key not in error.instance]
            hint = _variants_beside(keys, config) if missing == ["kind"] else ""
            yield keys, f"missing key {', '.join(map(repr, missing))}{hint}"
        case "enum":
            yield keys, f"got {error.instance!r}; allowed: {', '.join(map(str, allowed))}"
        case "type":
            types = allowed if isinstance(allowed, list) else [allowed]
            yield keys, f"got {error.instance!r}; allowed: {' or '.join(WORDS[name] for name in types)}"
        case _:
            text = error.schema.get("description", f"{error.validator} {allowed}")
            yield keys, f"got {error.instance!r}; allowed: {text}"


def _variants_beside(keys: Sequence[Any], config: Config) -> str:
    """What to write instead of the name of a variant that has no kind; "" where `keys` lead into a list."""
    beside: Any = config
    for key in keys[:-1]:
        beside = beside[key]
    if not isinstance(beside, Mapping):
        return ""
    known = sorted(name for name, variant in beside.items() if isinstance(variant, Mapping) and "kind" in variant)
    return f", which a new variant needs; variants there are: {', '.join(known) or 'none'}"


def expand_sweeps(config: Config, sources: Sources) -> dict[str, dict[str, list[str]]]:
    """Replace every `{sweep: {key: [values]}, ...}` variant by one variant per combination, in place.

    A variant `mlp` swept over `width: [16, 64]` becomes `mlp_width16` and `mlp_width64`.

    Returns:
        for each section, the names that a swept name stands for.

    Raises:
        ConfigError: a combination makes a name that cannot be one, or that another variant has.
    """
    expanded: dict[str, dict[str, list[str]]] = {section: {} for section in VARIANTS}
    for section in VARIANTS:
        variants: dict[str, Any] = {}
        for name, variant in config.get(section, {}).items():
            if "sweep" not in variant:
                variants[name] = variant
                continue
            rest = {key: value for key, value in variant.items() if key != "sweep"}
            expanded[section][name] = []
            for suffix, values in _combinations(variant["sweep"]):
                member = f"{name}_{suffix}"
                if not NAME.fullmatch(member):
                    problem = f"makes the name {member!r}; allowed: letters, digits, _, -, + and ., at most 64, no .."
                    raise sources.error((section, name, "sweep"), problem)
                if member in config[section]:
                    raise sources.error((section, name, "sweep"), f"makes {member!r}, which is already a variant")
                try:
                    variants[member] = _with_values(rest, values)
                except ConfigError as mistake:
                    raise sources.error((section, name, "sweep"), str(mistake)) from None
                expanded[section][name].append(member)
        config[section] = variants
    return expanded


def _combinations(sweep: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        yield "_".join(f"{key.rpartition('.')[2]}{value}" for key, value in chosen.items()), chosen


def _with_values(variant: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The variant with values put at dotted keys (`base.lr`)."""
    result = dict(variant)
    for key, value in values.items():
        head, _, rest = key.partition(".")
        inside = result.get(head, {})
        if rest and not isinstance(inside, Mapping):
            raise ConfigError(f"{head}: got {inside!r}; allowed: a mapping of keys, for the sweep over {key!r}")
        result[head] = _with_values(inside, {rest: value}) if rest else value
    return result


def _merge(into: Config, update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = _copy(value)


def _copy(value: Any) -> Any:
    return {key: _copy(entry) for key, entry in value.items()} if isinstance(value, Mapping) else value


def _has(content: Any, keys: Sequence[Any]) -> bool:
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _dotted(keys: Sequence[Any]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
