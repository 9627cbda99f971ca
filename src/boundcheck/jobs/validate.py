"""Check what a schema cannot say: that every variant can be built, and which combinations make no sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.cells.cell import build_callbacks
from boundcheck.cells.resolved import resolved_settings, settings_of, view_of
from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.data import DATASETS
from boundcheck.data.sizes import Sizes
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.objectives import build_objective
from boundcheck.planning.plan import Plan
from boundcheck.registry import VIEW_KEYS, as_variant, build, load
from boundcheck.settings import TrainingSettings
from boundcheck.training.recorders import Recorders

NAMING = {  # fields of claims and checks that hold names, or patterns of names, of a section's variants
    "methods": ("methods", "baseline", "groups"),
    "models": ("models", "baseline_model", "twins"),
    "analyses": ("analysis",),
}

SINGULAR = {"methods": "method", "models": "model", "analyses": "analysis"}
SECTIONS = {"datasets": DATASETS, "models": MODELS, "methods": METHODS, "analyses": ANALYSES}

STRAY_KEYS = {  # what `settings_of` takes away, so that no kind refuses it
    "datasets": {"name", "training"},
    "models": {"name", "training", *VIEW_KEYS},
    "methods": {"name", *VIEW_KEYS},
    "analyses": {"name", "training", *VIEW_KEYS},
}


def validate(plan: Plan) -> dict[str, Any]:
    """Build every variant that the config names, and ask every method about every model it meets.

    Returns:
        `errors`: messages with file, key, value and what is allowed; `skipped`: the cells that make no sense, by study;
        `cells`: all settings of every cell, defaults included.
    """
    errors = [*_variant_errors(plan), *_study_errors(plan)] or [*_shape_errors(plan), *_refused(plan)]
    errors = list(dict.fromkeys(errors))
    return {"errors": errors, "skipped": {} if errors else _skipped(plan), "cells": {} if errors else _resolved(plan)}


def _variant_errors(plan: Plan) -> Iterator[str]:
    for scope in plan.scopes.values():
        for section, registry in SECTIONS.items():
            for name, variant in scope.variants[section].items():
                where = scope.keys[section, name]
                for key in sorted(STRAY_KEYS[section] & set(variant)):
                    yield str(plan.sources.error((*where, key), f"means nothing in {section}; leave it out"))
                try:
                    built = build(registry, settings_of(variant))
                    if section == "datasets":
                        view_of(variant).sizes(getattr(built, "sizes", Sizes()))
                except (ValueError, TypeError) as error:
                    yield str(plan.sources.error(where, str(error)))


def _shape_errors(plan: Plan) -> Iterator[str]:
    """Networks that cannot be built for the inputs they meet, where their shape is known before the data is there."""
    for batch in {(batch.study, batch.dataset, batch.model): batch for batch in plan.batches.values()}.values():
        dataset = batch.train["dataset"]
        known = getattr(build(DATASETS, settings_of(dataset)), "sizes", Sizes())
        shape, num_classes, _, _ = view_of(dataset).sizes(known)
        architecture = getattr(build(MODELS, settings_of(batch.train["model"])), "architecture", None)
        if shape is not None and architecture is not None:
            try:
                architecture(shape, num_classes or 1)
            except ValueError as error:
                where = plan.scopes[batch.study].keys["models", batch.model]
                yield str(plan.sources.error(where, f"on {batch.dataset}: {error}"))


def _refused(plan: Plan) -> Iterator[str]:
    """Cells whose training or inputs their method refuses."""
    for batch in {batch.cell: batch for batch in plan.batches.values()}.values():
        method = build(METHODS, settings_of(batch.train["method"]))
        model = build(MODELS, settings_of(batch.train["model"]))
        if not hasattr(method, "refuses") or _skips(method, model):
            continue
        dataset = batch.train["dataset"]
        view, known = view_of(dataset), getattr(build(DATASETS, settings_of(dataset)), "sizes", Sizes())
        training = TrainingSettings(**batch.train["training"])
        problem = method.refuses(training, view.normalise, view.sizes(known).input_shape)
        if problem:
            where = plan.scopes[batch.study].keys["methods", batch.method]
            yield str(plan.sources.error(where, f"on {batch.cell}: {problem}"))


def _study_errors(plan: Plan) -> Iterator[str]:
    for study, settings in plan.config["studies"].items():
        for section, registry in (("checks", CHECKS), ("claims", CLAIMS)):
            for name, variant in settings.get(section, {}).items():
                key = ("studies", study, section, name)
                try:
                    built = build(registry, variant)
                except (ValueError, TypeError) as error:
                    yield str(plan.sources.error(key, str(error)))
                    continue
                if not plan.sources.is_papers(key):
                    yield from (str(plan.sources.error(key, problem)) for problem in _unknown(plan, study, built))
        for number, block in enumerate(settings["grid"]):
            yield from _block_errors(plan, study, number, block)


def _unknown(plan: Plan, study: str, claim: Any) -> Iterator[str]:
    """Names in a claim that no variant has: it could never be decided."""
    checks = plan.config["studies"][study].get("checks", {})
    check = getattr(claim, "check", None)
    if isinstance(check, str) and check not in checks:
        yield f"check: no check {check!r}; allowed: {', '.join(sorted(checks)) or 'none'}"
    elif check is None:
        yield from _unknown_quantities(claim)
    for section, fields in NAMING.items():
        names = plan.scopes[study].variants[section]
        keys = getattr(claim, "twins", ()) if section == "models" else ()
        wanted = [*keys, *(name for field in fields for name in _names(getattr(claim, field, None)))]
        for pattern in dict.fromkeys(wanted):
            if not any(fnmatchcase(name, pattern) for name in names):
                allowed = f"allowed: {', '.join(sorted(names))}, and patterns such as gam_*"
                yield f"no {SINGULAR[section]} {pattern!r}; {allowed}"


def _unknown_quantities(claim: Any) -> Iterator[str]:
    """Quantities that nothing records (curves), or nothing measures (measurements)."""
    source = getattr(claim, "source", "results")
    wanted = [(source, getattr(claim, "quantity", None)), (source, getattr(claim, "twin_quantity", None))]
    wanted += [("measurements", quantity) for quantity in getattr(claim, "show", ())]
    for source, quantity in wanted:
        known = _quantities(source)
        if quantity and not any(fnmatchcase(quantity, pattern) for pattern in known):
            yield f"no quantity {quantity!r} in the {source}; allowed: {', '.join(known)}"


@cache
def _quantities(source: str) -> list[str]:
    """The names, or patterns, of all quantities of the curves, of the measurements, or of both."""
    registries = {"curves": [CALLBACKS], "measurements": [ANALYSES]}.get(source, [CALLBACKS, ANALYSES])
    kinds = [load(registry, kind) for registry in registries for kind in registry]
    return sorted({name for kind in kinds for name in getattr(kind, "quantities", "").split()})


def _names(value: Any) -> list[str]:
    """The names in a field that holds one, a list of them, or a mapping to either; `self` is none."""
    match value:
        case str():
            return [] if value == "self" else [value]
        case Mapping():
            return [name for entry in value.values() for name in _names(entry)]
        case Sequence():
            return [name for entry in value for name in _names(entry)]
    return []


def _block_errors(plan: Plan, study: str, number: int, block: Mapping[str, Any]) -> Iterator[str]:
    where, given = ("studies", study, "grid", number), dict(block["training"])
    if "teacher" in given:  # a name; the plan has found its variant
        given["teacher"] = {"name": given["teacher"]}
    try:
        training = TrainingSettings(**given)
        build_objective(training)
    except ValueError as error:
        yield str(plan.sources.error((*where, "training"), str(error)))
        return
    yield from _record_errors(plan, where, block.get("record", []), training)


def _record_errors(
    plan: Plan, where: tuple[Any, ...], record: Sequence[Any], training: TrainingSettings
) -> Iterator[str]:
    for position, entry in enumerate(record):
        try:
            build(CALLBACKS, as_variant(entry))
        except (ValueError, TypeError) as error:
            yield str(plan.sources.error((*where, "record", position), str(error)))
            return
    try:
        Recorders(build_callbacks(record)).check(training)
    except ValueError as error:
        yield str(plan.sources.error((*where, "record"), str(error)))


def _resolved(plan: Plan) -> dict[str, dict[str, Any]]:
    """All settings of every cell, those that the config leaves to a default among them."""
    batches = {batch.cell: batch for batch in plan.batches.values()}
    return {cell: resolved_settings(plan.measure_spec(batch.folder)) for cell, batch in batches.items()}


def _skipped(plan: Plan) -> dict[str, list[dict[str, str]]]:
    skipped: dict[str, list[dict[str, str]]] = {}
    for batch in {batch.cell: batch for batch in plan.batches.values()}.values():
        method = build(METHODS, settings_of(batch.train["method"]))
        model = build(MODELS, settings_of(batch.train["model"]))
        reason = _skips(method, model)
        if reason:
            cell = {"dataset": batch.dataset, "model": batch.model, "method": batch.method, "reason": reason}
            skipped.setdefault(batch.study, []).append(cell)
    return skipped


def _skips(method: Any, model: Any) -> str | None:
    """Why the method makes no sense with the model, where it says so."""
    return method.skips(model) if hasattr(method, "skips") else None
