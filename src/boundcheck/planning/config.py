"""The layers of a config: its files, the files of its studies, and the values of `--config`; merged in this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from boundcheck.plain_text import one_line
from boundcheck.planning.claim_tables import ClaimTableError, expand_tables
from boundcheck.planning.claims import claims_file
from boundcheck.planning.yaml_files import Config, ConfigError, dotted, read_file, read_scalars

__all__ = ["OF_A_SCALE", "SECTIONS", "VARIANTS", "Config", "ConfigError", "Sources"]
VARIANTS = ("datasets", "models", "methods", "analyses")
SECTIONS = (*VARIANTS, "checks", "claims")
OF_A_SCALE = ("grid", "defaults")  # keys of a study that an overlay with a `name` does not take over
VALUES = "--config"


@dataclass(frozen=True)
class Layer:
    """The settings of one file or of the command line. `at` is the position of its keys in the config."""

    label: str
    content: Config
    at: tuple[str, ...] = ()
    begins_scale: bool = False


@dataclass
class Node:
    """A key of the merged config: the layer that set it last, and the nodes of the keys below it."""

    layer: Layer
    children: dict[Any, Node] = field(default_factory=dict)


class Sources:
    """The merged config, and which layer sets each of its keys.

    Args:
        files: config files in the order of merging.
        values: the values of `--config`, which are merged last.

    Raises:
        ConfigError: a file cannot be read, is not YAML, or is not a mapping.
    """

    def __init__(self, files: Sequence[str | Path], values: Mapping[str, Any] | None = None) -> None:
        self.files = [_shown(Path(file)) for file in files]
        layers = [layer for file in self.files for layer in _layers_of_file(file)]
        if values:
            layers += _with_studies(VALUES, read_scalars(values), Path())
        self.layers = [*_claims_layers(layers), *layers]
        self.config: Config = {}
        self._root = Node(Layer(str(self.files[-1]) if self.files else "config", {}))
        for layer in self.layers:
            self._take(layer)

    def merged(self) -> Config:
        """The merged config. A study's variant without a `kind` changes the top-level variant of the same name."""
        merged = _copy(self.config)
        for _, study in _mappings(merged.get("studies")):
            for section in VARIANTS:
                shared = dict(_mappings(merged.get(section)))
                for name, variant in _mappings(study.get(section)):
                    if "kind" not in variant and name in shared:
                        study[section][name] = _merged(shared[name], variant)
        return merged

    def _take(self, layer: Layer) -> None:
        if layer.begins_scale:
            for key, study in _mappings(self.config.get("studies")):
                for of_a_scale in OF_A_SCALE:
                    study.pop(of_a_scale, None)
                    self._root.children["studies"].children[key].children.pop(of_a_scale, None)
        content: Config = dict(layer.content)
        for key in reversed(layer.at):
            content = {key: content}
        _merge(self.config, content, self._root, layer)

    def error(self, keys: Sequence[Any], problem: str) -> ConfigError:
        """An error about the value at `keys`, with the file that sets it."""
        layer, path = self._holder(keys)
        return ConfigError(one_line(f"{layer.label}: {dotted(path[len(layer.at) :]) or 'the config'}: {problem}"))

    def has_grid(self, study: str) -> bool:
        """Whether some layer gives a grid to a study; that of an earlier scale counts too."""
        contents = [layer.content for layer in self.layers if layer.at == ("studies", study)]
        contents += [dict(_mappings(layer.content.get("studies"))).get(study, {}) for layer in self.layers]
        return any("grid" in content for content in contents)

    def is_from_command_line(self, keys: Sequence[Any]) -> bool:
        """Whether the value at `keys` is one of `--config`."""
        return _has(self.config, keys) and self._node(keys).layer.label == VALUES

    def _holder(self, keys: Sequence[Any]) -> tuple[Layer, Sequence[Any]]:
        """The layer that sets the value at `keys` (or else the nearest key above it), and the keys in that layer."""
        for path in (keys, *_elsewhere(keys)):
            if _has(self.config, path):
                return self._node(path).layer, path
        return self._node(keys).layer, keys

    def _node(self, keys: Sequence[Any]) -> Node:
        node = self._root
        for key in keys:
            if key not in node.children:
                break
            node = node.children[key]
        return node


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _layers_of_file(file: Path) -> list[Layer]:
    content = read_file(file)
    return _with_studies(str(file), content, file.parent, begins_scale="name" in content)


def _with_studies(label: str, content: Config, folder: Path, begins_scale: bool = False) -> list[Layer]:
    """A layer, followed by the layers of the study files that it names. Paths are relative to `folder`."""
    studies: Any = content.get("studies")
    studies = studies if isinstance(studies, dict) else {}
    named = {key: path for key, path in studies.items() if isinstance(path, str)}
    if named:
        content = {**content, "studies": {**studies, **{key: {} for key in named}}}
    layers = [Layer(label, content, begins_scale=begins_scale)]
    for key, path in named.items():
        try:
            layers.append(Layer(str(folder / path), read_file(folder / path), ("studies", key)))
        except ConfigError as error:
            raise ConfigError(f"{label}: {dotted(('studies', key))}: {error}") from None
    return [_with_tables_expanded(layer) for layer in layers]


def _with_tables_expanded(layer: Layer) -> Layer:
    """The layer with its tables of claims replaced by single claims."""
    if layer.at:
        return replace(layer, content=_study_expanded(layer.content, f"{layer.label}: "))
    studies = {
        key: _study_expanded(study, f"{layer.label}: studies.{key}.")
        for key, study in _mappings(layer.content.get("studies"))
    }
    if not studies:
        return layer
    return replace(layer, content={**layer.content, "studies": {**layer.content["studies"], **studies}})


def _study_expanded(study: Config, where: str) -> Config:
    claims = study.get("claims")
    try:
        return {**study, "claims": expand_tables(claims)} if isinstance(claims, dict) else study
    except ClaimTableError as error:
        raise ConfigError(one_line(f"{where}claims.{error}")) from None


def _claims_layers(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with the papers' checks and claims. They come first, so that a config may change them."""
    keys = [key for layer in layers for key, _ in _mappings(layer.content.get("studies"))]
    files = {key: file for key in keys if isinstance(key, str) and (file := claims_file(key)) is not None}
    return [_with_tables_expanded(_claims_layer(key, file)) for key, file in files.items()]


def _claims_layer(key: str, file: Path) -> Layer:
    content = {part: entries for part, entries in read_file(file).items() if part in ("checks", "claims")}
    return Layer(str(_shown(file)), content, ("studies", key))


def _elsewhere(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Other positions of the value of a block (in the study's defaults) or of a study's variant (at the top level)."""
    match keys:
        case ("studies", study, "grid", int(), *rest) if rest:
            yield ("studies", study, "defaults", *rest)
        case ("studies", _, section, *rest) if section in VARIANTS and rest:
            yield (section, *rest)


def _merge(into: Config, update: Mapping[str, Any], node: Node, layer: Layer) -> None:
    """Merge mappings entry by entry. A mapping with a `kind`, and any other value, replaces the old value."""
    node.layer = layer
    for key, value in update.items():
        if _is_merged(value, into.get(key)):
            _merge(into[key], value, node.children[key], layer)
        else:
            into[key] = _copy(value)
            node.children[key] = _nodes(value, layer)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Config:
    """`above` merged over `below`, without their layers."""
    config = _copy(below)
    for key, value in above.items():
        config[key] = _merged(config[key], value) if _is_merged(value, config.get(key)) else _copy(value)
    return config


def _is_merged(value: Any, below: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(below, dict) and not isinstance(value.get("kind"), str)


def _nodes(value: Any, layer: Layer) -> Node:
    children = {key: _nodes(entry, layer) for key, entry in value.items()} if isinstance(value, Mapping) else {}
    return Node(layer, children)


def _copy(value: Any) -> Any:
    return {key: _copy(entry) for key, entry in value.items()} if isinstance(value, Mapping) else value


def _mappings(value: Any) -> list[tuple[Any, Config]]:
    """The entries of a mapping that are mappings."""
    return [(key, entry) for key, entry in value.items() if isinstance(entry, dict)] if isinstance(value, dict) else []


def _has(content: Any, keys: Sequence[Any]) -> bool:
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True
