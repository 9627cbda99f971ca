"""From the config to the plan: blocks multiplied out, names resolved, every batch with its spec. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from boundcheck.planning.code_version import SOURCE
from boundcheck.planning.config import Config, ConfigError, Sources, expand_sweeps, validate_schema
from boundcheck.planning.plan import Batch, Plan

SCHEMA = SOURCE.parent / "workflow" / "schemas" / "config.schema.yaml"
DEFAULT_TRAINING: dict[str, Any] = {
    "loss": "cross_entropy",
    "label_smoothing": 0.0,
    "epochs": 10,
    "batch_size": 128,
    "lr_schedule": "constant",
    "lr_update": "step",
    "final_lr_factor": 0.0,
    "warmup_epochs": 0,
    "step_epochs": [],
    "step_factor": 0.1,
    "precision": "float32",
    "channels_last": "auto",
    "deterministic": True,
    "max_loss": 1e4,
    "evaluate_every": 1,
    "augment": {},
}
RULES = ("all", "data", "fetch", "train", "train_batch", "measure", "measure_batch", "check", "check_paper", "report")
KEPT_REPORTS = "reference"
TEACHER = "teacher"  # the kind of dataset that has no examples


def make_plan(files: Sequence[str | Path], config: Config | None = None) -> Plan:
    """The plan of the merged config files, before any kind is imported.

    Args:
        files: config files in the order of merging.
        config: the merged config where the caller has it (Snakemake's, with --config on top).

    Raises:
        ConfigError: every mistake that was found, one a line, with file, key, value and what is allowed.
    """
    sources = Sources(files)
    merged = sources.merged() if config is None else json.loads(json.dumps(config))
    validate_schema(merged, SCHEMA, sources)
    expanded = expand_sweeps(merged, sources)
    for key, paper in merged["papers"].items():
        if not sources.belongs_to_scale(("papers", key, "grid")):
            paper["grid"] = []  # of another scale
    plan = Plan(merged, sources)
    mistakes = _name_mistakes(merged, sources)
    for key, paper in merged["papers"].items():
        for number, block in enumerate(paper["grid"]):
            try:
                for batch in _batches(plan, ("papers", key, "grid", number), block, expanded):
                    plan.add(batch, ("papers", key, "grid", number))
            except ConfigError as mistake:
                mistakes.append(str(mistake))
    if not plan.batches and not mistakes:
        mistakes.append(str(sources.error(("papers",), "no paper has a grid; allowed: at least one block")))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return plan


def _name_mistakes(config: Config, sources: Sources) -> list[str]:
    """Names that mean something else, of a paper (a target beside the rules) or a scale (a folder), or nothing."""
    taken = [key for key in config["papers"] if key in RULES]
    mistakes = [
        str(sources.error(("papers", key), f"is the name of a rule; taken: {', '.join(RULES)}")) for key in taken
    ]
    known = (sources.contents[0].get("papers") or {}) if sources.contents else config["papers"]
    for key, paper in config["papers"].items():
        if key not in known and not (paper.get("checks") or paper.get("claims")):
            problem = f"has neither checks nor claims; allowed: {', '.join(sorted(known))}, or a new paper with some"
            mistakes.append(str(sources.error(("papers", key), problem)))
    if config["name"] == KEPT_REPORTS:
        mistakes.append(str(sources.error(("name",), f"{KEPT_REPORTS!r} is where reports are kept; take another")))
    return mistakes


def _batches(plan: Plan, where: tuple[Any, ...], block: Config, expanded: Mapping[str, Any]) -> Iterator[Batch]:
    """The batches of one block of a grid."""
    names = {
        section: _resolve(plan, where, section, block.get(section, []), expanded)
        for section in ("datasets", "models", "methods", "analyses")
    }
    per_job: int = {"seeds_per_job": 3, **plan.config, **block}["seeds_per_job"]
    if block["seeds"] % per_job:
        allowed = f"a multiple of seeds_per_job ({per_job})"
        raise plan.sources.error((*where, "seeds"), f"got {block['seeds']}; allowed: {allowed}")
    if block.get("analyses") and not block.get("snapshots"):
        raise plan.sources.error((*where, "analyses"), "analyses need `snapshots`: a list of epochs to measure at")
    analyses = tuple({"name": name, **plan.config["analyses"][name]} for name in names["analyses"])
    for cell in product(names["datasets"], names["models"], names["methods"]):
        spec = _train_spec(plan, where, block, cell)
        for start in range(0, block["seeds"], per_job):
            seeds = tuple(range(start, start + per_job))
            yield Batch(where[1], *cell, seeds, {**spec, "seeds": list(seeds)}, analyses)


def _resolve(
    plan: Plan, where: tuple[Any, ...], section: str, names: Sequence[str], expanded: Mapping[str, Any]
) -> list[str]:
    """Names of variants, a swept name replaced by those it stands for."""
    resolved: list[str] = []
    for name in names:
        if name not in plan.config[section] and name not in expanded[section]:
            allowed = ", ".join(sorted([*plan.config[section], *expanded[section]]))
            raise plan.sources.error((*where, section), f"no variant {name!r} in {section}; allowed: {allowed}")
        resolved += expanded[section].get(name, [name])
    return list(dict.fromkeys(resolved))


def _train_spec(plan: Plan, where: tuple[Any, ...], block: Config, names: tuple[str, str, str]) -> dict[str, Any]:
    dataset, model, method = names
    training = _training(plan, where, block, method)
    if plan.config["datasets"][dataset]["kind"] == TEACHER:
        problem = f"{dataset} is a teacher without examples; name it in training.teacher"
        raise plan.sources.error((*where, "datasets"), problem)
    snapshots = {training["epochs"] if epoch == "last" else epoch for epoch in block.get("snapshots", [])}
    if snapshots and max(snapshots) > training["epochs"]:
        problem = f"got {max(snapshots)}; allowed: epochs up to {training['epochs']} (those of {method}), or last"
        raise plan.sources.error((*where, "snapshots"), problem)
    variant = plan.config["methods"][method]
    return {
        "dataset": {"name": dataset, **plan.config["datasets"][dataset]},
        "model": {"name": model, **plan.config["models"][model]},
        "method": {"name": method, **{key: value for key, value in variant.items() if key != "training"}},
        "training": training,
        "snapshots": sorted(snapshots),
        "record": list(block.get("record", ["loss", "accuracy"])),
    }


def _training(plan: Plan, where: tuple[Any, ...], block: Config, method: str) -> dict[str, Any]:
    """The settings of a block's training with those of a method on top."""
    training = {**DEFAULT_TRAINING, **block["training"], **plan.config["methods"][method].get("training", {})}
    if isinstance(training["epochs"], str):
        epochs = block["training"].get("epochs", DEFAULT_TRAINING["epochs"])
        if isinstance(epochs, str):
            raise plan.sources.error((*where, "training", "epochs"), f"got {epochs!r}; allowed here: a whole number")
        training["epochs"] = int(training["epochs"][1:]) * epochs
    last = training["epochs"]
    for key, latest in (
        ("warmup_epochs", training["warmup_epochs"]),
        ("step_epochs", max(training["step_epochs"], default=0)),
    ):
        if latest > last:
            problem = f"got {latest}; allowed: at most {last}, the epochs of {method}"
            raise plan.sources.error((*where, "training", key), problem)
    if training["lr_schedule"] == "step" and not training["step_epochs"]:
        raise plan.sources.error(
            (*where, "training", "step_epochs"), "the schedule `step` needs the epochs of its drops"
        )
    if "teacher" in training:
        training["teacher"] = _teacher(plan, where, training["teacher"])
    return training


def _teacher(plan: Plan, where: tuple[Any, ...], name: str) -> dict[str, Any]:
    """The variant of a teacher, with its name and the file that it is fetched into."""
    datasets = plan.config["datasets"]
    if datasets.get(name, {}).get("kind") != TEACHER:
        known = [other for other, variant in datasets.items() if variant["kind"] == TEACHER]
        problem = f"no teacher {name!r} in datasets; allowed: {', '.join(known) or f'a dataset of kind {TEACHER}'}"
        raise plan.sources.error((*where, "training", "teacher"), problem)
    return {"name": name, **datasets[name], "file": f"data/{name}/arrays.safetensors"}
