"""Checks that a schema cannot express: that every variant can be built, and which combinations make no sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.cells.cell import build_callbacks
from boundcheck.cells.resolved import resolved_settings, settings_of, view_of
from boundcheck.cells.trainable import batch_problem, has_lone_example, has_lone_sample, sample_problem
from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.data import DATASETS
from boundcheck.data.sizes import Sizes
from boundcheck.jobs.claim_validation import claim_mistakes, selections
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.objectives import build_objective
from boundcheck.optional_members import KnowsArchitecture, KnowsSizes, RefusesCells, SkipsModels
from boundcheck.planning.claims import deciding_settings
from boundcheck.planning.plan import Plan
from boundcheck.registry import VIEW_KEYS, as_variant, build
from boundcheck.settings import TrainingSettings
from boundcheck.training.recorders import Recorders

SECTIONS = {"datasets": DATASETS, "models": MODELS, "methods": METHODS, "analyses": ANALYSES}

MAX_PARAMETERS = 10**10  # 40 GB in float32

STRAY_KEYS = {  # keys that `settings_of` removes, so that no kind would refuse them
    "datasets": {"name", "training"},
    "models": {"name", "training", *VIEW_KEYS},
    "methods": {"name", *VIEW_KEYS},
    "analyses": {"name", "training", *VIEW_KEYS},
}


def validate(plan: Plan) -> dict[str, Any]:
    """Build every variant of the config, and check every combination of method and model in the grid.

    Returns:
        `errors`: messages with file, key, value and what is allowed; `skipped`: by study, the cells that make no sense;
        `cells`: all settings of every cell, including defaults; `claims`: by study, the cells that each claim selects.
    """
    errors = [*_variant_errors(plan), *_study_errors(plan)] or [
        *_shape_errors(plan),
        *_batch_errors(plan),
        *_refused(plan),
    ]
    errors = list(dict.fromkeys(errors))
    if errors:
        return {"errors": errors, "skipped": {}, "cells": {}, "claims": {}}
    cells, skipped = _resolved(plan), _skipped(plan)
    return {"errors": [], "skipped": skipped, "cells": cells, "claims": selections(plan, cells, skipped)}


def _variant_errors(plan: Plan) -> Iterator[str]:
    for scope in plan.scopes.values():
        for section, registry in SECTIONS.items():
            for name, variant in scope.variants[section].items():
                where = scope.keys[section, name]
                for key in sorted(STRAY_KEYS[section] & set(variant)):
                    yield str(plan.sources.error((*where, key), f"it has no effect in {section}; leave it out"))
                try:
                    build(registry, settings_of(variant))
                    if section == "datasets":
                        _sizes(variant)
                except (ValueError, TypeError) as error:
                    yield str(plan.sources.error(where, _with_view_keys(section, str(error))))


def _with_view_keys(section: str, problem: str) -> str:
    """An error about an unknown setting of a dataset, which lists the keys of a view too."""
    head, found, own = problem.partition("has no such setting; allowed: ")
    if section != "datasets" or not found:
        return problem
    return head + found + ", ".join([*([] if own == "none" else [own]), *VIEW_KEYS])


def _shape_errors(plan: Plan) -> Iterator[str]:
    """Errors for networks that cannot be built for the inputs of a dataset, if their shape is known beforehand."""
    for batch in {(batch.study, batch.dataset, batch.model): batch for batch in plan.batches.values()}.values():
        shape, num_classes, *_ = _sizes(batch.train["dataset"])
        model = build(MODELS, settings_of(batch.train["model"]))
        if shape is not None and isinstance(model, KnowsArchitecture):
            try:
                _network(model, shape, num_classes)
            except ValueError as error:
                where = plan.scopes[batch.study].keys["models", batch.model]
                yield str(plan.sources.error(where, f"on {batch.dataset}: {error}"))


def _network(model: KnowsArchitecture, shape: tuple[int, ...], num_classes: int | None) -> nn.Module:
    """The network on the meta device; a ValueError says why there is none."""
    try:
        network = model.architecture(shape, num_classes or 1)
    except RuntimeError as error:  # sizes that torch cannot count
        raise ValueError(f"{str(error).splitlines()[0]}; lower its widths") from None
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    if num_parameters > MAX_PARAMETERS:
        allowed = f"at most {MAX_PARAMETERS:,}; lower its widths or its depth"
        raise ValueError(f"got a network of {num_parameters:,} parameters; allowed: {allowed}")
    return network


def _batch_errors(plan: Plan) -> Iterator[str]:
    """Errors for networks that need larger batches than there are examples, as far as sizes are known beforehand."""
    for batch in plan.batches.values():
        shape, num_classes, num_train, *_ = _sizes(batch.train["dataset"])
        batch_size = TrainingSettings(**batch.train["training"]).batch_size
        is_lone = num_train is not None and has_lone_example(num_train, batch_size)
        analyses = {variant["name"]: build(ANALYSES, settings_of(variant)) for variant in batch.analyses}
        lone = {name: analysis for name, analysis in analyses.items() if has_lone_sample(analysis, num_train)}
        model = build(MODELS, settings_of(batch.train["model"]))
        if shape is None or not (is_lone or lone) or not isinstance(model, KnowsArchitecture):
            continue
        if _skips(build(METHODS, settings_of(batch.train["method"])), model):
            continue
        try:
            network = _network(model, shape, num_classes)
        except ValueError:  # `_shape_errors` says so
            continue
        keys = plan.scopes[batch.study].keys
        if num_train is not None and (problem := batch_problem(network, shape, num_train, batch_size)):
            yield str(plan.sources.error(keys["datasets", batch.dataset], f"on {batch.cell}: {problem}"))
        for name, analysis in lone.items():
            if problem := sample_problem(network, shape, analysis, num_train):
                yield str(plan.sources.error(keys["analyses", name], f"on {batch.cell}: {problem}"))


def _sizes(dataset: Mapping[str, Any]) -> Sizes:
    """The sizes of the examples that a dataset's variant uses, as far as they are known before the fetch."""
    built = build(DATASETS, settings_of(dataset))
    return view_of(dataset).sizes(built.sizes if isinstance(built, KnowsSizes) else Sizes())


def _refused(plan: Plan) -> Iterator[str]:
    """Errors for cells whose method refuses their training settings or inputs."""
    for batch in {batch.cell: batch for batch in plan.batches.values()}.values():
        method = build(METHODS, settings_of(batch.train["method"]))
        model = build(MODELS, settings_of(batch.train["model"]))
        if not isinstance(method, RefusesCells) or _skips(method, model):
            continue
        dataset, training = batch.train["dataset"], TrainingSettings(**batch.train["training"])
        problem = method.refuses(training, view_of(dataset).normalise, _sizes(dataset).input_shape)
        if problem:
            where = plan.scopes[batch.study].keys["methods", batch.method]
            yield str(plan.sources.error(where, f"on {batch.cell}: {problem}"))


def _study_errors(plan: Plan) -> Iterator[str]:
    for study, settings in plan.config["studies"].items():
        for section, registry in (("checks", CHECKS), ("claims", CLAIMS)):
            for name, variant in settings.get(section, {}).items():
                key = ("studies", study, section, name)
                try:
                    built = build(registry, deciding_settings(variant))
                except (ValueError, TypeError) as error:
                    yield str(plan.sources.error(key, str(error)))
                    continue
                mistakes = claim_mistakes(built, list(settings.get("checks", {})), plan.scopes[study].variants)
                yield from (str(plan.sources.error(key, mistake)) for mistake in mistakes)
        for number, block in enumerate(settings["grid"]):
            yield from _block_errors(plan, study, number, block)


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
    """All settings of every cell, including those that have their default values."""
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
    """Why the method makes no sense with the model; None if it does."""
    return method.skips(model) if isinstance(method, SkipsModels) else None
