"""Makes the plan from the config: every cell of every grid block, as batches with their specs. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from boundcheck.planning.config import Config, ConfigError, Sources
from boundcheck.planning.fetches import data_name
from boundcheck.planning.plan import Batch, Plan
from boundcheck.planning.schema import most_epochs, training_defaults, validate_schema
from boundcheck.planning.sweeps import Scope, scope_of
from boundcheck.planning.yaml_files import all_mistakes

DEFAULT_TRAINING = training_defaults()
MAX_EPOCHS = most_epochs()
NEEDED = ("datasets", "models", "methods", "seeds")  # keys of a block, its study's defaults included
MAIN_ROLE = "main"
RULES = ("all", "data", "fetch", "train", "train_batch", "measure", "measure_batch", "check", "check_study", "report")
TAKEN = {**dict.fromkeys(RULES, "is the name of a rule"), "specs": "is the name of the folder of specs"}
KEPT_REPORTS = "reference"
TEACHER = "teacher"  # the kind of dataset that has no examples
MAX_RUNS = 30_000  # of a plan, cells times seeds; those of the project have less than 1,000


def make_plan(
    files: Sequence[str | Path],
    values: Mapping[str, Any] | None = None,
    check: Callable[[Config, Sources], None] = validate_schema,
) -> Plan:
    """The plan of the merged config files. It imports no kind.

    Args:
        files: config files in the order of merging.
        values: the values of `--config`, which are merged last.
        check: raises an error if the config does not follow the schema.

    Raises:
        ConfigError: one line for every mistake, with file, key, value and what is allowed.
    """
    sources = Sources(files, values)
    config = json.loads(json.dumps(sources.merged()))
    check(config, sources)
    studies: Config = config["studies"]
    for study in studies.values():
        study["grid"] = [_with_defaults(block, study.get("defaults", {})) for block in study.get("grid", [])]
    plan = Plan(config, sources, {key: scope_of(config, key, sources) for key in studies})
    mistakes = _name_mistakes(config, sources)
    room = MAX_RUNS
    for key, study in studies.items():
        for number, block in enumerate(study["grid"]):
            where = ("studies", key, "grid", number)
            try:
                for batch in _batches(plan, where, block, room):
                    plan.add(batch, where)
                    room -= len(batch.seeds)
            except ConfigError as mistake:
                mistakes.append(str(mistake))
    if not plan.batches and not mistakes:
        mistakes.append(str(sources.error(("studies",), "no study has a grid; allowed: at least one block")))
    if mistakes:
        raise all_mistakes(mistakes)
    return plan


def _with_defaults(block: Config, defaults: Config) -> Config:
    """A block merged with the defaults of its study. The settings of `training` are merged one by one."""
    training = {**defaults.get("training", {}), **block.get("training", {})}
    return {**defaults, **block, "training": training}


def _name_mistakes(config: Config, sources: Sources) -> list[str]:
    """Errors for names of studies or scales that mean something else, or nothing: a study that has no grid at all."""
    taken = [key for key in config["studies"] if key in TAKEN]
    mistakes = [sources.error(("studies", key), f"{TAKEN[key]}; taken: {', '.join(TAKEN)}") for key in taken]
    if config["name"] == KEPT_REPORTS:
        mistakes.append(sources.error(("name",), f"{KEPT_REPORTS!r} is where reports are kept; take another"))
    known = [key for key in config["studies"] if sources.has_grid(key)]
    problem = f"no file gives it a grid; allowed: a grid, or a study that has one: {', '.join(known)}"
    mistakes += [sources.error(("studies", key), problem) for key in config["studies"] if key not in known]
    return [str(mistake) for mistake in mistakes]


def _batches(plan: Plan, where: tuple[Any, ...], block: Config, room: int) -> Iterator[Batch]:
    """The batches of one block of a grid, which may have at most `room` runs."""
    missing = [key for key in NEEDED if key not in block]
    if missing:
        raise plan.sources.error(where, f"missing key {', '.join(map(repr, missing))}, here or in `defaults`")
    scope = plan.scopes[where[1]]
    names = {section: _resolve(plan, where, scope, section, block.get(section, [])) for section in scope.variants}
    per_job: int = {"seeds_per_job": 3, **plan.config, **block}["seeds_per_job"]
    if block["seeds"] % per_job:
        if "seeds_per_job" not in block and plan.sources.is_from_command_line(("seeds_per_job",)):
            allowed = f"a divisor of {block['seeds']}, the seeds of {where[1]}"
            raise plan.sources.error(("seeds_per_job",), f"got {per_job}; allowed: {allowed}")
        allowed = f"a multiple of seeds_per_job ({per_job})"
        raise plan.sources.error((*where, "seeds"), f"got {block['seeds']}; allowed: {allowed}")
    num_runs = math.prod(len(names[section]) for section in ("datasets", "models", "methods")) * block["seeds"]
    if num_runs > room:
        problem = f"its cells times its seeds are {num_runs:,} runs; allowed: at most {MAX_RUNS:,} in all blocks"
        raise plan.sources.error(where, problem)
    if block.get("analyses") and not block.get("snapshots"):
        raise plan.sources.error((*where, "analyses"), "analyses need `snapshots`: a list of epochs to measure at")
    analyses = tuple({"name": name, **scope.variants["analyses"][name]} for name in names["analyses"])
    role = block.get("role", MAIN_ROLE)
    roles = (role,) if isinstance(role, str) else tuple(role)
    for cell in product(names["datasets"], names["models"], names["methods"]):
        spec = _train_spec(plan, where, block, cell)
        used = [cell[0], *([spec["training"]["teacher"]["name"]] if "teacher" in spec["training"] else [])]
        data = tuple(data_name(scope.variants["datasets"][name]) for name in used)
        for start in range(0, block["seeds"], per_job):
            seeds = tuple(range(start, start + per_job))
            yield Batch(where[1], *cell, seeds, {**spec, "seeds": list(seeds)}, analyses, roles, data)


def _resolve(plan: Plan, where: tuple[Any, ...], scope: Scope, section: str, names: Sequence[str]) -> list[str]:
    try:
        return scope.resolve(section, names)
    except ConfigError as mistake:
        raise plan.sources.error((*where, section), str(mistake)) from None


def _train_spec(plan: Plan, where: tuple[Any, ...], block: Config, names: tuple[str, str, str]) -> dict[str, Any]:
    dataset, model, method = names
    variants = plan.scopes[where[1]].variants
    training = _training(plan, where, block, method)
    if variants["datasets"][dataset]["kind"] == TEACHER:
        problem = f"{dataset} is a teacher without examples; name it in training.teacher"
        raise plan.sources.error((*where, "datasets"), problem)
    snapshots = {training["epochs"] if epoch == "last" else epoch for epoch in block.get("snapshots", [])}
    if snapshots and max(snapshots) > training["epochs"]:
        problem = f"got {max(snapshots)}; allowed: epochs up to {training['epochs']} (those of {method}), or last"
        raise plan.sources.error((*where, "snapshots"), problem)
    method_settings = {key: value for key, value in variants["methods"][method].items() if key != "training"}
    return {
        "dataset": {"name": dataset, **variants["datasets"][dataset]},
        "model": {"name": model, **variants["models"][model]},
        "method": {"name": method, **method_settings},
        "training": training,
        "snapshots": sorted(snapshots),
        "record": list(block.get("record", ["loss", "accuracy"])),
    }


def _training(plan: Plan, where: tuple[Any, ...], block: Config, method: str) -> dict[str, Any]:
    """The training settings of a block, overridden by those of the method."""
    scope = plan.scopes[where[1]]
    training = {**DEFAULT_TRAINING, **block["training"], **scope.variants["methods"][method].get("training", {})}
    if isinstance(training["epochs"], str):
        epochs = block["training"].get("epochs", DEFAULT_TRAINING["epochs"])
        if isinstance(epochs, str):
            raise plan.sources.error((*where, "training", "epochs"), f"got {epochs!r}; allowed here: a whole number")
        training["epochs"] = int(training["epochs"][1:]) * epochs
    if training["epochs"] > MAX_EPOCHS:
        problem = f"got {training['epochs']:,} for {method}; allowed: at most {MAX_EPOCHS:,}"
        raise plan.sources.error((*where, "training", "epochs"), problem)
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
    if training.get("teacher") is not None:
        training["teacher"] = _teacher(plan, where, training["teacher"])
    return training


def _teacher(plan: Plan, where: tuple[Any, ...], name: str) -> dict[str, Any]:
    """The variant of a teacher, with its name and the file of its weights."""
    datasets = plan.scopes[where[1]].variants["datasets"]
    if datasets.get(name, {}).get("kind") != TEACHER:
        known = [other for other, variant in datasets.items() if variant["kind"] == TEACHER]
        problem = f"no teacher {name!r} in datasets; allowed: {', '.join(known) or f'a dataset of kind {TEACHER}'}"
        raise plan.sources.error((*where, "training", "teacher"), problem)
    return {"name": name, **datasets[name], "file": f"data/{data_name(datasets[name])}/arrays.safetensors"}
