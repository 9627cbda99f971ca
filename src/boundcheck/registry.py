"""From the name of a kind to the class, and from a config variant to an instance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

VIEW_KEYS = ("train_size", "test_size", "pool", "normalise", "positive")  # of a dataset: how a cell uses the arrays


def load(registry: Mapping[str, str], kind: str) -> Any:
    """The object that `kind` names in a registry of "module:attribute" strings.

    Raises:
        ValueError: `kind` is not in the registry; the message lists what is.
    """
    if kind not in registry:
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(sorted(registry))}")
    module, _, attribute = registry[kind].partition(":")
    return getattr(import_module(module), attribute)


def build(registry: Mapping[str, str], variant: Mapping[str, Any]) -> Any:
    """An instance of the class that `variant["kind"]` names, with the other entries as its fields.

    Raises:
        ValueError: unknown kind, unknown field, missing field, or a value that the class refuses.
    """
    if not isinstance(variant, Mapping):
        raise ValueError(f"got {variant!r}; allowed: a variant, {{kind: ..., and its settings}}")
    kind = variant.get("kind")
    if not isinstance(kind, str):
        raise ValueError(f"a variant needs a `kind`; allowed: {', '.join(sorted(registry))}")
    factory = load(registry, kind)
    fields = {f.name: f for f in dataclasses.fields(factory) if f.init}
    values = {name: value for name, value in variant.items() if name != "kind"}
    for name in values:
        if name not in fields:
            raise ValueError(f"{name}: {kind} has no such setting; allowed: {', '.join(fields) or 'none'}")
    missing = [name for name, f in fields.items() if name not in values and _is_required(f)]
    if missing:
        raise ValueError(f"{missing[0]}: {kind} needs this setting")
    return factory(**values)


def build_part(field: str, registry: Mapping[str, str], variant: Mapping[str, Any]) -> Any:
    """As `build`, of a variant that is a field of another one.

    Raises:
        ValueError: as `build`, with the field in front.
    """
    try:
        return build(registry, variant)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def resolved(registry: Mapping[str, str], variant: Mapping[str, Any]) -> dict[str, Any]:
    """A variant with all settings of its kind, defaults included, and those of the variants inside it.

    Nothing downstream of a job's spec retypes a default: results, tables and claims read these.

    Raises:
        ValueError: as `build`.
    """
    built = build(registry, variant)
    values = {field.name: getattr(built, field.name) for field in dataclasses.fields(built) if field.init}
    full = {name: _resolved_value(registry, value) for name, value in values.items()}
    num_gradients = {"num_gradients": built.num_gradients} if hasattr(built, "num_gradients") else {}
    return {"kind": variant["kind"], **full, **num_gradients}


def _resolved_value(registry: Mapping[str, str], value: Any) -> Any:
    if isinstance(value, Mapping):
        return resolved(registry, value) if value.get("kind") in registry else dict(value)
    return list(value) if isinstance(value, tuple) else value


def as_variant(entry: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """A variant, which may be given by its kind alone."""
    return {"kind": entry} if isinstance(entry, str) else entry


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def lazy(package: str, *registries: Mapping[str, str]) -> Callable[[str], Any]:
    """A module `__getattr__` that imports a registered object by its own name when it is first asked for."""
    paths = {path.partition(":")[2]: path for registry in registries for path in registry.values()}

    def find(name: str) -> Any:
        if name not in paths:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return load(paths, name)

    return find
