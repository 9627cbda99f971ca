"""The plan of a config: its batches, and the spec and code version of each job. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from boundcheck.manifests import digest_of
from boundcheck.plain_text import shown
from boundcheck.planning.batch import Batch
from boundcheck.planning.claims import deciding_settings, words_of
from boundcheck.planning.code_version import SOURCE, code_version
from boundcheck.planning.config import VARIANTS, Config, Sources
from boundcheck.planning.fetches import fetch_spec
from boundcheck.planning.job_code import cell_modules, fetch_modules, kind_modules, measure_modules, train_modules
from boundcheck.planning.source_state import recorded_source_state, source_state
from boundcheck.planning.sweeps import Scope


@dataclass
class Plan:
    """All work of one config. `skipped`, `resolved` and `claims` are empty until `validated_plan` fills them."""

    config: Config
    sources: Sources
    scopes: dict[str, Scope]  # by study
    batches: dict[str, Batch] = field(default_factory=dict)
    skipped: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    resolved: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by cell: all settings, defaults included
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)  # by study: what each claim selects
    seeds_per_job: dict[str, int] = field(default_factory=dict)  # by cell

    @property
    def scale(self) -> str:
        """The config's name: first folder under results/ and reports/."""
        return self.config["name"]

    @property
    def studies(self) -> list[str]:
        """Keys of the studies with a grid."""
        return [key for key, study in self.config["studies"].items() if study["grid"]]

    @property
    def fetches(self) -> dict[str, Mapping[str, Any]]:
        """The variants of all datasets and teachers that the batches need, by their folders below data/.

        Variants that use the same arrays share a folder; the first one is listed.
        """
        fetches: dict[str, Mapping[str, Any]] = {}
        for batch in self.batches.values():
            for folder, name in zip(batch.data, batch.datasets, strict=True):
                fetches.setdefault(folder, self.scopes[batch.study].variants["datasets"][name])
        return dict(sorted(fetches.items()))

    def of_study(self, key: str) -> list[Batch]:
        """The batches of one study."""
        return [batch for batch in self.batches.values() if batch.study == key]

    def pattern(self, key: str) -> str:
        """A regular expression of the names that a wildcard (study, data, dataset, model, method) may take."""
        names = set(self.fetches) if key == "data" else {getattr(batch, key) for batch in self.batches.values()}
        return "|".join(sorted(map(re.escape, names))) or "none"

    def add(self, batch: Batch, where: tuple[Any, ...]) -> None:
        """Add a batch of the block at `where`. If the batch exists already, add the analyses and roles to it.

        Raises:
            ConfigError: the cell exists already with other settings.
        """
        if len(batch.seeds) != self.seeds_per_job.setdefault(batch.cell, len(batch.seeds)):
            problem = f"the cell {batch.cell} is in two blocks with different seeds_per_job"
            raise self.sources.error(where, problem)
        known = self.batches.get(batch.folder)
        if known is not None:
            differing = [key for key in batch.train if known.train[key] != batch.train[key]]
            if differing:
                problem = f"the cell {batch.cell} is in two blocks with different {', '.join(differing)}"
                raise self.sources.error(where, problem)
            analyses = {variant["name"]: variant for variant in (*known.analyses, *batch.analyses)}
            roles = tuple(dict.fromkeys((*known.roles, *batch.roles)))
            batch = replace(known, analyses=tuple(analyses.values()), roles=roles)
        self.batches[batch.folder] = batch

    # -- what defines each job -------------------------------------------------------------------------------------

    def fetch_spec(self, data: str) -> dict[str, Any]:
        """The settings that decide the arrays below data/<data>; see `fetches.fetch_spec`."""
        return fetch_spec(self.fetches[data])

    def source_state(self, data: str) -> str:
        """State of the folder or archive that a dataset is read from (its `path`); "none" if there is none.

        If the source is gone but its arrays exist, the recorded state is used.
        """
        variant = self.fetches[data]
        path = variant.get("path")
        if path is None:
            return "none"
        state = source_state(_source(path)) or recorded_source_state(data, self.fetch_spec(data))
        return state or "none"

    def missing_source(self, data: str) -> list[str]:
        """An error message if the folder or archive of a dataset does not exist, else an empty list."""
        path = self.fetches[data].get("path")
        what = None if path is None else _why_unreadable(path)
        if what is None:
            return []
        problem = f"got {shown(path)}, which {what}; allowed: the folder or archive of the images"
        batch = next(batch for batch in self.batches.values() if data in batch.data)
        where = self.scopes[batch.study].keys["datasets", batch.datasets[batch.data.index(data)]]
        return [str(self.sources.error((*where, "path"), problem))]

    def measure_spec(self, folder: str) -> dict[str, Any]:
        """The spec of a batch's measuring: the spec of its training and the analyses."""
        batch = self.batches[folder]
        return {**batch.train, "analyses": list(batch.analyses)}

    def check_spec(self, study: str) -> dict[str, Any]:
        """The spec of the check stage: a study's batches, its cells with all settings, its checks and claims."""
        settings = self.config["studies"][study]
        batches = self.of_study(study)
        cells = {
            batch.cell.partition("/")[2]: {
                **self.resolved[batch.cell],
                "roles": list(batch.roles),
                "measured": bool(batch.analyses),
            }
            for batch in batches
        }
        claims = settings.get("claims", {}).items()
        return {
            "scale": self.scale,
            "study": study,
            "batches": {batch.folder.partition("/")[2]: self.identity(batch) for batch in batches},
            "cells": cells,
            "skipped": self.skipped.get(study, []),
            "checks": settings.get("checks", {}),
            "claims": {name: deciding_settings(claim) for name, claim in claims},
        }

    def identity(self, batch: Batch) -> dict[str, str]:
        """What the files of a batch must be made from: digests of its specs, and versions of the code.

        The measuring's are empty for a batch that is not measured.
        """
        folder, is_measured = batch.folder, bool(batch.analyses)
        return {
            "train": digest_of(batch.train),
            "train_code": self.train_code(folder),
            "measure": digest_of(self.measure_spec(folder)) if is_measured else "",
            "measure_code": self.measure_code(folder) if is_measured else "",
        }

    def report_spec(self) -> dict[str, Any]:
        """The spec of the report: the studies, the words of their claims, and the config that is in effect."""
        config = {key: value for key, value in self.config.items() if key not in (*VARIANTS, "studies")}
        studies = {key: self._effective(key) for key in self.studies}
        claims = {key: self.config["studies"][key].get("claims", {}) for key in self.studies}
        words = {key: {name: words_of(claim) for name, claim in entries.items()} for key, entries in claims.items()}
        return {
            "scale": self.scale,
            "studies": self.studies,
            "config": {**config, "studies": studies},
            "statements": words,
            "checks": {key: digest_of(self.check_spec(key)) for key in self.studies},
            "check_code": {key: self.check_code(key) for key in self.studies},
        }

    def _effective(self, key: str) -> Config:
        """A study's part of the config, with only those variants that its cells use."""
        settings, batches = self.config["studies"][key], self.of_study(key)
        used: dict[str, set[str]] = {
            "datasets": {name for batch in batches for name in batch.datasets},
            "models": {batch.model for batch in batches},
            "methods": {batch.method for batch in batches},
            "analyses": {variant["name"] for batch in batches for variant in batch.analyses},
        }
        variants = {
            section: {name: variant for name, variant in self.scopes[key].variants[section].items() if name in names}
            for section, names in used.items()
        }
        claims = {name: deciding_settings(claim) for name, claim in settings.get("claims", {}).items()}
        return {**variants, "grid": settings["grid"], "checks": settings.get("checks", {}), "claims": claims}

    def job_modules(self) -> list[str]:
        """The modules that the jobs import, except those of the report, which is a single job."""
        modules = {"boundcheck.report.check"}
        for data in self.fetches:
            modules.update(fetch_modules(self.fetch_spec(data)))
        for folder, batch in self.batches.items():
            modules.update(train_modules(batch.train), measure_modules(self.measure_spec(folder)))
        return sorted(modules)

    def fetch_code(self, data: str) -> str:
        """Version of the code that decides a dataset's arrays."""
        return code_version(*fetch_modules(self.fetch_spec(data)))

    def train_code(self, folder: str) -> str:
        """Version of the code that decides a batch's curves and snapshots."""
        return code_version(*train_modules(self.batches[folder].train))

    def measure_code(self, folder: str) -> str:
        """Version of the code that decides a batch's measurements."""
        return code_version(*measure_modules(self.measure_spec(folder)))

    def check_code(self, study: str) -> str:
        """Version of the code that decides a study's checks and claims, including the kinds of its cells."""
        given = {section: self.config["studies"][study].get(section, {}) for section in ("checks", "claims")}
        kinds = [module for section, variants in given.items() for module in kind_modules(section, variants.values())]
        cells = [module for batch in self.of_study(study) for module in cell_modules(batch.train)]
        return code_version("boundcheck.report.check", *sorted({*kinds, *cells}))

    def report_code(self) -> str:
        """Version of the code and templates that decide the report."""
        templates = (SOURCE / "boundcheck" / "report" / "templates").glob("*")
        return code_version("boundcheck.report.report", files=templates)

    def kinds_code(self) -> str:
        """Version of all code that decides whether the config's variants can be built."""
        variants: list[tuple[str, Iterable[Any]]] = []
        for key, study in self.config["studies"].items():
            variants += [(section, self.scopes[key].variants[section].values()) for section in VARIANTS]
            variants += [(section, study.get(section, {}).values()) for section in ("checks", "claims")]
            variants += [("record", block.get("record", [])) for block in study["grid"]]
        modules = {module for section, entries in variants for module in kind_modules(section, entries)}
        return code_version("boundcheck.jobs.validate", *sorted(modules))


def _source(path: str) -> Path:
    """The folder or archive that a dataset names; `~name` stays as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _why_unreadable(path: str) -> str | None:
    """What is wrong with the path of a folder or archive; None if nothing is seen from outside."""
    try:
        source = _source(path)
        if source.is_dir() or source.is_file():
            return None
        return "is a pipe, a socket or a device" if source.exists() else "does not exist"
    except OSError:  # such as a name that is too long
        return "does not exist"
