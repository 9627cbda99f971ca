"""Checks claims before anything is computed: finds mistakes, and which cells of the grid each claim selects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from boundcheck.analyses import ANALYSES
from boundcheck.callbacks import CALLBACKS
from boundcheck.claims import CLAIMS
from boundcheck.claims.shared.selection import CellKey, Selected, Settings
from boundcheck.data import DATASETS
from boundcheck.jobs.selector_mistakes import selector_mistakes, training_mistakes, unknown_names
from boundcheck.jobs.unmatched_selectors import unmatched
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.planning.claims import deciding_settings
from boundcheck.planning.plan import Plan
from boundcheck.registry import VIEW_KEYS, build, load
from boundcheck.report.reasons import worded

SELECTORS: dict[str, tuple[Mapping[str, str], tuple[str, ...]]] = {  # field -> kinds, and settings common to all kinds
    "datasets": (DATASETS, VIEW_KEYS),
    "models": (MODELS, ()),
    "methods": (METHODS, ("num_gradients",)),
    "centre": (METHODS, ("num_gradients",)),
    "record": (CALLBACKS, ()),
    "baseline": (METHODS, ("num_gradients", "others")),
    "baseline_model": (MODELS, ("others",)),
    "baseline_record": (CALLBACKS, ()),
    "beside": (MODELS, ("others",)),
    "certified": (CALLBACKS, ()),
}
SECTIONS = {  # field -> the section whose variants a text names
    "datasets": "datasets",
    "models": "models",
    "methods": "methods",
    "centre": "methods",
    "baseline": "methods",
    "baseline_model": "models",
    "beside": "models",
}


def claim_mistakes(claim: Any, checks: Sequence[str], names: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Names in a claim or check that do not exist: of a check, quantity, kind, setting of a kind, or variant.

    Args:
        claim: a claim or check.
        checks: names of the study's checks.
        names: names of the variants that the study may use, by section.
    """
    check = getattr(claim, "check", None)
    if isinstance(check, str) and check not in checks:
        yield f"check: no check {check!r}; allowed: {', '.join(sorted(checks)) or 'none'}"
    elif check is None:
        yield from _unknown_quantities(claim)
    for where, field, selector in _selectors(claim):
        registry, common = SELECTORS[field]
        yield from (f"{where}: {mistake}" for mistake in selector_mistakes(selector, registry, common))
        unknown = unknown_names(selector, names[SECTIONS[field]]) if field in SECTIONS else ()
        yield from (f"{where}: {mistake}" for mistake in unknown)
    analysis = getattr(claim, "analysis", None)
    if analysis is not None and analysis not in names["analyses"]:
        yield f"analysis: no analysis {analysis!r}; allowed: {', '.join(sorted(names['analyses']))}"
    yield from (f"training: {mistake}" for mistake in training_mistakes(getattr(claim, "training", {})))


def selections(
    plan: Plan, cells: Mapping[str, Settings], skipped: Mapping[str, Sequence[Mapping[str, str]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The cells that each claim would use, by study and claim: `cells`, `baselines`, `seeds`, `never`.

    `never` is the reason if the claim can never be decided.

    Args:
        plan: of a config without mistakes.
        cells: the resolved settings of every cell, by study/dataset/model/method.
        skipped: by study, the cells that are left out because they make no sense.
    """
    selected: dict[str, dict[str, dict[str, Any]]] = {study: {} for study in plan.studies}
    for study in plan.studies:
        planned: dict[CellKey, Settings] = {}
        absent = {(cell["dataset"], cell["model"], cell["method"]) for cell in skipped.get(study, ())}
        for batch in plan.of_study(study):
            key = (batch.dataset, batch.model, batch.method)
            if key in absent:
                continue
            seeds = [*planned.get(key, {"seeds": ()})["seeds"], *batch.seeds]
            planned[key] = {**cells[batch.cell], "roles": list(batch.roles), "seeds": seeds}
        for name, variant in plan.config["studies"][study].get("claims", {}).items():
            claim = build(CLAIMS, deciding_settings(variant))
            if hasattr(claim, "selects"):
                selected[study][name] = _plain(claim.selects(planned, recorded_quantities), unmatched(claim, planned))
    return selected


def recorded_quantities(cell: Settings, source: str) -> list[str]:
    """The names, or patterns, of the quantities that a cell will have in its curves or measurements."""
    registry, entries = (CALLBACKS, cell["record"]) if source == "curves" else (ANALYSES, cell["analyses"])
    return [name for entry in entries for name in load(registry, entry["kind"]).quantities.split()]


def _plain(selected: Selected, why_no_cell: str) -> dict[str, Any]:
    baselines = {"/".join(cell): "/".join(other or ()) for cell, other in selected.baselines.items()}
    return {
        "cells": ["/".join(cell) for cell in selected.cells],
        "baselines": baselines,
        "seeds": selected.num_seeds,
        "never": worded(selected.never) + (f" ({why_no_cell})" if why_no_cell and not selected.cells else ""),
    }


def _selectors(claim: Any) -> Iterator[tuple[str, str, Any]]:
    """The selectors of a claim: the position, the key of SELECTORS, and the selector."""
    for field in SELECTORS:
        selector = getattr(claim, field, None)
        if selector is not None and selector not in ("same", "base"):
            yield field, field, selector
    for figures in ("shown", "swept"):
        selectors = getattr(claim, figures, None)
        if isinstance(selectors, Mapping):
            yield from ((f"{figures}: {field}", field, selector) for field, selector in selectors.items())
    groups = getattr(claim, "groups", None)
    if isinstance(groups, Mapping):
        yield from ((f"groups: {name}", "methods", selector) for name, selector in groups.items())


def _unknown_quantities(claim: Any) -> Iterator[str]:
    """Errors for quantities that no callback records (curves) or no analysis measures (measurements)."""
    source = getattr(claim, "source", "results")
    wanted = [(source, getattr(claim, name, None)) for name in ("quantity", "baseline_quantity")]
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
