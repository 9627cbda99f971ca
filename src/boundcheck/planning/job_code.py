"""Which modules decide the result of a job: its stage and the kinds in its spec. Imports none of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from boundcheck.registry import as_variant

REGISTRIES = {
    "datasets": ("data", "DATASETS"),
    "models": ("models", "MODELS"),
    "methods": ("methods", "METHODS"),
    "analyses": ("analyses", "ANALYSES"),
    "record": ("callbacks", "CALLBACKS"),
    "checks": ("claims", "CHECKS"),
    "claims": ("claims", "CLAIMS"),
}


def fetch_modules(spec: Mapping[str, Any]) -> list[str]:
    """The modules whose code decides a dataset's arrays."""
    return ["boundcheck.data.fetch", *kind_modules("datasets", [spec])]


def train_modules(spec: Mapping[str, Any]) -> list[str]:
    """The modules whose code decides a training."""
    return [
        "boundcheck.training.train",
        *_teacher_modules(spec),
        *cell_modules(spec),
        *kind_modules("record", spec["record"]),
    ]


def measure_modules(spec: Mapping[str, Any]) -> list[str]:
    """The modules whose code decides the measurements of a batch."""
    return [
        "boundcheck.measuring.measure",
        *_teacher_modules(spec),
        *cell_modules(spec),
        *kind_modules("analyses", spec["analyses"]),
    ]


def cell_modules(spec: Mapping[str, Any]) -> list[str]:
    """The modules of the model and the method of a cell."""
    return [*kind_modules("models", [spec["model"]]), *kind_modules("methods", [spec["method"]])]


def _teacher_modules(spec: Mapping[str, Any]) -> list[str]:
    teacher = spec.get("training", {}).get("teacher")
    return kind_modules("datasets", [teacher]) if teacher else []


def kind_modules(section: str, variants: Iterable[Mapping[str, Any] | str]) -> list[str]:
    """The modules of the variants' kinds, and of the variants inside them (such as a base optimizer).

    Unknown kinds are skipped.

    Args:
        section: a key of the config: datasets, models, methods, analyses, record, checks or claims.
        variants: mappings with a `kind`, or names of kinds.
    """
    package, name = REGISTRIES[section]
    registry: dict[str, str] = getattr(import_module(f"boundcheck.{package}"), name)
    kinds = [kind for variant in variants for kind in _kinds(as_variant(variant))]
    return [registry[kind].partition(":")[0] for kind in kinds if isinstance(kind, str) and kind in registry]


def _kinds(variant: Mapping[str, Any]) -> Iterator[str]:
    """The kind of a variant, and the kinds of all variants inside it."""
    yield variant["kind"]
    for value in variant.values():
        if isinstance(value, Mapping) and "kind" in value:
            yield from _kinds(value)
