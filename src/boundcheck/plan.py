"""From the config to the work: grids, cells, batches, and the spec that defines each job. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boundcheck.code_version import SOURCE, code_version
from boundcheck.config import Config, ConfigError, Sources, expand_sweeps, validate_schema

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
VIEW_KEYS = ("train_size", "test_size", "pool", "normalise")
REGISTRIES = {"datasets": "data", "models": "models", "methods": "methods", "analyses": "analyses"}


@dataclass(frozen=True)
class Batch:
    """The seeds of one cell that one job trains. `train` is the spec of its training, `analyses` of its measuring."""

    paper: str
    dataset: str
    model: str
    method: str
    seeds: tuple[int, ...]
    train: Mapping[str, Any]
    analyses: tuple[Mapping[str, Any], ...]

    @property
    def cell(self) -> str:
        """paper/dataset/model/method"""
        return f"{self.paper}/{self.dataset}/{self.model}/{self.method}"

    @property
    def seeds_folder(self) -> str:
        """seeds_0-2"""
        return f"seeds_{self.seeds[0]}-{self.seeds[-1]}"

    @property
    def folder(self) -> str:
        """paper/dataset/model/method/seeds_0-2, below results/<scale>/"""
        return f"{self.cell}/{self.seeds_folder}"


@dataclass
class Plan:
    """All work of one config."""

    config: Config
    sources: Sources
    batches: dict[str, Batch] = field(default_factory=dict)
    skipped: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @property
    def scale(self) -> str:
        """The config's name: first folder under results/ and reports/."""
        return self.config["name"]

    @property
    def papers(self) -> list[str]:
        """Keys of the papers with a grid."""
        return [key for key, paper in self.config["papers"].items() if paper["grid"]]

    @property
    def datasets(self) -> list[str]:
        """Datasets that some batch needs."""
        return sorted({batch.dataset for batch in self.batches.values()})

    def of_paper(self, key: str) -> list[Batch]:
        """The batches of one paper."""
        return [batch for batch in self.batches.values() if batch.paper == key]

    def pattern(self, key: str) -> str:
        """A regular expression of the names that a wildcard (paper, dataset, model, method) may take."""
        names = {re.escape(getattr(batch, key)) for batch in self.batches.values()}
        return "|".join(sorted(names)) or "none"

    # -- what defines each job -------------------------------------------------------------------------------------

    def fetch_spec(self, dataset: str) -> dict[str, Any]:
        """What decides a dataset's arrays: its kind and source, not how cells use it."""
        variant = self.config["datasets"][dataset]
        return {key: value for key, value in variant.items() if key not in VIEW_KEYS}

    def measure_spec(self, folder: str) -> dict[str, Any]:
        """The training's spec with the analyses."""
        batch = self.batches[folder]
        return {**batch.train, "analyses": list(batch.analyses)}

    def check_spec(self, paper: str) -> dict[str, Any]:
        """The batches, checks and claims of a paper."""
        settings = self.config["papers"][paper]
        return {
            "scale": self.scale,
            "paper": paper,
            "batches": [batch.folder.partition("/")[2] for batch in self.of_paper(paper)],
            "skipped": self.skipped.get(paper, []),
            "checks": settings.get("checks", {}),
            "claims": settings.get("claims", {}),
        }

    def report_spec(self) -> dict[str, Any]:
        """The papers and the effective config."""
        return {"scale": self.scale, "papers": self.papers, "config": self.config}

    def fetch_code(self, dataset: str) -> str:
        """Version of the code that decides a dataset's arrays."""
        return code_version("boundcheck.stages.fetch", *_modules("datasets", self.config["datasets"][dataset]))

    def train_code(self, folder: str) -> str:
        """Version of the code that decides a batch's curves and snapshots."""
        return code_version(*train_modules(self.batches[folder].train))

    def measure_code(self, folder: str) -> str:
        """Version of the code that decides a batch's measurements."""
        return code_version(*measure_modules(self.measure_spec(folder)))

    def check_code(self, paper: str) -> str:
        """Version of the code that decides a paper's checks and claims."""
        spec = self.check_spec(paper)
        kinds = [*_registry_modules("claims", "CHECKS", spec["checks"].values())]
        kinds += _registry_modules("claims", "CLAIMS", spec["claims"].values())
        return code_version("boundcheck.stages.check", *kinds)

    def report_code(self) -> str:
        """Version of the code and templates that decide the report."""
        templates = (SOURCE / "boundcheck" / "stages" / "templates").glob("*")
        return code_version("boundcheck.stages.report", files=templates)


def train_modules(spec: Mapping[str, Any]) -> list[str]:
    """The modules whose code decides a training."""
    recorders = [{"kind": name} for name in spec["record"]]
    return [
        "boundcheck.stages.train",
        *_modules("models", spec["model"]),
        *_modules("methods", spec["method"]),
        *_registry_modules("callbacks", "CALLBACKS", recorders),
    ]


def measure_modules(spec: Mapping[str, Any]) -> list[str]:
    """The modules whose code decides the measurements of a batch."""
    return [
        "boundcheck.stages.measure",
        *_modules("models", spec["model"]),
        *_modules("methods", spec["method"]),
        *(module for variant in spec["analyses"] for module in _modules("analyses", variant)),
    ]


def make_plan(files: Sequence[str | Path], config: Config | None = None) -> Plan:
    """The plan of the merged config files, before any kind is imported.

    Args:
        files: config files in the order of merging.
        config: the merged config where the caller has it (Snakemake's, with --config on top).

    Raises:
        ConfigError: the first mistake, with file, key, value and what is allowed.
    """
    sources = Sources(files)
    merged = sources.merged() if config is None else json.loads(json.dumps(config))
    validate_schema(merged, SCHEMA, sources)
    expanded = expand_sweeps(merged, sources)
    plan = Plan(merged, sources)
    for key, paper in merged["papers"].items():
        for number, block in enumerate(paper["grid"]):
            _add_block(plan, key, number, block, expanded)
    return plan


def _add_block(plan: Plan, paper: str, number: int, block: Config, expanded: Mapping[str, Any]) -> None:
    where: tuple[Any, ...] = ("papers", paper, "grid", number)
    names = {
        section: _resolve(plan, where, section, block.get(section, []), expanded)
        for section in ("datasets", "models", "methods", "analyses")
    }
    per_job = plan.config.get("seeds_per_job", 3)
    if block["seeds"] % per_job:
        allowed = f"a multiple of seeds_per_job ({per_job})"
        raise plan.sources.error((*where, "seeds"), f"got {block['seeds']}; allowed: {allowed}")
    if block.get("analyses") and not block.get("snapshots"):
        raise plan.sources.error((*where, "analyses"), "analyses need `snapshots`: a list of epochs to measure at")
    analyses = tuple({"name": name, **plan.config["analyses"][name]} for name in names["analyses"])
    for dataset in names["datasets"]:
        for model in names["models"]:
            for method in names["methods"]:
                spec = _train_spec(plan, where, block, (dataset, model, method))
                for start in range(0, block["seeds"], per_job):
                    seeds = tuple(range(start, start + per_job))
                    batch = Batch(paper, dataset, model, method, seeds, {**spec, "seeds": list(seeds)}, analyses)
                    _add_batch(plan, where, batch)


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
    variant = plan.config["methods"][method]
    training = {**DEFAULT_TRAINING, **block["training"], **variant.get("training", {})}
    if isinstance(training["epochs"], str):
        epochs = block["training"].get("epochs", DEFAULT_TRAINING["epochs"])
        if isinstance(epochs, str):
            raise plan.sources.error((*where, "training", "epochs"), f"got {epochs!r}; allowed here: a whole number")
        training["epochs"] = int(training["epochs"][1:]) * epochs
    snapshots = {training["epochs"] if epoch == "last" else epoch for epoch in block.get("snapshots", [])}
    if snapshots and max(snapshots) > training["epochs"]:
        problem = f"got {max(snapshots)}; allowed: epochs up to {training['epochs']} (those of {method}), or last"
        raise plan.sources.error((*where, "snapshots"), problem)
    return {
        "dataset": {"name": dataset, **plan.config["datasets"][dataset]},
        "model": {"name": model, **plan.config["models"][model]},
        "method": {"name": method, **{k: v for k, v in variant.items() if k != "training"}},
        "training": training,
        "snapshots": sorted(snapshots),
        "record": list(block.get("record", ["loss", "accuracy"])),
    }


def _add_batch(plan: Plan, where: tuple[Any, ...], batch: Batch) -> None:
    known = plan.batches.get(batch.folder)
    if known is not None and known.train != batch.train:
        differing = [key for key in batch.train if known.train[key] != batch.train[key]]
        problem = f"the cell {batch.cell} stands in two blocks with different {', '.join(differing)}"
        raise plan.sources.error(where, problem)
    if known is not None:
        analyses = {variant["name"]: variant for variant in (*known.analyses, *batch.analyses)}
        batch = Batch(**{**known.__dict__, "analyses": tuple(analyses.values())})
    plan.batches[batch.folder] = batch


def _modules(section: str, variant: Mapping[str, Any]) -> list[str]:
    """The modules of a variant's kind and of the kinds of the variants inside it (a base optimizer)."""
    package = REGISTRIES[section]
    nested = [value for value in variant.values() if isinstance(value, Mapping) and "kind" in value]
    return _registry_modules(package, section.upper(), [variant, *nested])


def _registry_modules(package: str, name: str, variants: Any) -> list[str]:
    registry = registry_table(package, name)
    return [registry[variant["kind"]].partition(":")[0] for variant in variants if variant["kind"] in registry]


def registry_table(package: str, name: str) -> dict[str, str]:
    """A package's registry; importing the package imports none of its kinds."""
    from importlib import import_module

    return getattr(import_module(f"boundcheck.{package}"), name)


__all__ = ["Batch", "ConfigError", "Plan", "make_plan", "measure_modules", "train_modules"]
