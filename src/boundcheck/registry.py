"""Registries: find the class that a kind names, and build an instance from a variant of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

VIEW_KEYS = ("train_size", "test_size", "pool", "normalise", "positive")  # of a dataset: how a cell uses the arrays


def load(registry: Mapping[str, str], kind: str) -> Any:
    """The object that `kind` names in a registry of "module:attribute" strings.

    Raises:
        ValueError: `kind` is not in the registry; the message lists the kinds that are.
    """
    if kind not in registry:
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(sorted(registry))}")
    module, _, attribute = registry[kind].partition(":")
    return getattr(import_module(module), attribute)


def build(registry: Mapping[str, str], variant: Mapping[str, Any]) -> Any:
    """Build an instance of the class that `variant["kind"]` names; the other entries are its fields.

    Raises:
        ValueError: the kind or a field is unknown, a field is missing, or the class refuses a value.
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
    """Build a variant that is a field of another variant, such as the `base` of a method.

    Raises:
        ValueError: as `build`; the message begins with the field.
    """
    try:
        return build(registry, variant)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def resolved(registry: Mapping[str, str], variant: Mapping[str, Any]) -> dict[str, Any]:
    """A variant with all settings of its kind, including defaults, and those of the variants inside it.

    Results, tables and claims read these settings. So no default value is written a second time elsewhere.

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
    """The variant of an entry, which may be only the name of a kind."""
    return {"kind": entry} if isinstance(entry, str) else entry


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def lazy(package: str, *registries: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package that imports a registered object, by its own name, on first access."""
    paths = {path.partition(":")[2]: path for registry in registries for path in registry.values()}

    def find(name: str) -> Any:
        if name not in paths:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return load(paths, name)

    return find
