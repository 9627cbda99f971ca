"""Check what a schema cannot say: that every variant can be built, and which combinations make no sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from boundcheck import plan as planning
from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.data import DATASETS
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.objectives import build_objective
from boundcheck.registry import build, load
from boundcheck.stages.cell import settings_of, view_of

SECTIONS = {"datasets": DATASETS, "models": MODELS, "methods": METHODS, "analyses": ANALYSES}


def validate(plan: planning.Plan) -> dict[str, Any]:
    """Build every variant that the config names, and ask every method about every model it meets.

    Returns:
        `errors`: messages with file, key, value and what is allowed; `skipped`: the cells that make no sense, by paper.
    """
    errors = [*_variant_errors(plan), *_paper_errors(plan)]
    return {"errors": errors, "skipped": {} if errors else _skipped(plan)}


def _variant_errors(plan: planning.Plan) -> Iterator[str]:
    for section, registry in SECTIONS.items():
        for name, variant in plan.config[section].items():
            try:
                build(registry, settings_of(variant))
                if section == "datasets":
                    view_of(variant)
            except (ValueError, TypeError) as error:
                yield str(plan.sources.error((section, name), str(error)))


def _paper_errors(plan: planning.Plan) -> Iterator[str]:
    for paper, settings in plan.config["papers"].items():
        for section, registry in (("checks", CHECKS), ("claims", CLAIMS)):
            for name, variant in settings.get(section, {}).items():
                try:
                    build(registry, variant)
                except (ValueError, TypeError) as error:
                    yield str(plan.sources.error(("papers", paper, section, name), str(error)))
    for key in {("papers", batch.paper): None for batch in plan.batches.values()}:
        for training, record in _distinct_settings(plan, key[1]):
            try:
                build_objective(training)
                for name in record:
                    load(CALLBACKS, name)
            except ValueError as error:
                yield str(plan.sources.error((*key, "grid"), str(error)))


def _distinct_settings(plan: planning.Plan, paper: str) -> list[tuple[Mapping[str, Any], list[str]]]:
    distinct = {}
    for batch in plan.of_paper(paper):
        training, record = batch.train["training"], batch.train["record"]
        distinct[str((training, record))] = (training, record)
    return list(distinct.values())


def _skipped(plan: planning.Plan) -> dict[str, list[dict[str, str]]]:
    skipped: dict[str, list[dict[str, str]]] = {}
    for batch in {batch.cell: batch for batch in plan.batches.values()}.values():
        method = build(METHODS, settings_of(batch.train["method"]))
        model = build(MODELS, settings_of(batch.train["model"]))
        skips = getattr(method, "skips", None)
        reason = skips(model) if skips else None
        if reason:
            cell = {"dataset": batch.dataset, "model": batch.model, "method": batch.method, "reason": reason}
            skipped.setdefault(batch.paper, []).append(cell)
    return skipped
