"""The work of a config: batches, and the spec and code version that define each job. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from boundcheck.planning.code_version import SOURCE, code_version
from boundcheck.planning.config import VARIANTS, Config, Sources
from boundcheck.planning.job_code import fetch_modules, kind_modules, measure_modules, train_modules
from boundcheck.planning.source_state import fetched_state, origin_state
from boundcheck.registry import VIEW_KEYS


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
    def teacher(self) -> Mapping[str, Any] | None:
        """The variant that the training distils from, with its name and file."""
        return self.train["training"].get("teacher")

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
    seeds_per_job: dict[str, int] = field(default_factory=dict)  # by cell

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
        """Datasets that some batch needs, teachers among them."""
        teachers = {batch.teacher["name"] for batch in self.batches.values() if batch.teacher}
        return sorted({batch.dataset for batch in self.batches.values()} | teachers)

    def of_paper(self, key: str) -> list[Batch]:
        """The batches of one paper."""
        return [batch for batch in self.batches.values() if batch.paper == key]

    def pattern(self, key: str) -> str:
        """A regular expression of the names that a wildcard (paper, dataset, model, method) may take."""
        names = self.datasets if key == "dataset" else {getattr(batch, key) for batch in self.batches.values()}
        return "|".join(sorted(map(re.escape, names))) or "none"

    def add(self, batch: Batch, where: tuple[Any, ...]) -> None:
        """Take in a batch of the block at `where`; one that is already there gets the other's analyses too.

        Raises:
            ConfigError: the same cell with other settings.
        """
        if len(batch.seeds) != self.seeds_per_job.setdefault(batch.cell, len(batch.seeds)):
            problem = f"the cell {batch.cell} stands in two blocks with different seeds_per_job"
            raise self.sources.error(where, problem)
        known = self.batches.get(batch.folder)
        if known is not None:
            differing = [key for key in batch.train if known.train[key] != batch.train[key]]
            if differing:
                problem = f"the cell {batch.cell} stands in two blocks with different {', '.join(differing)}"
                raise self.sources.error(where, problem)
            analyses = {variant["name"]: variant for variant in (*known.analyses, *batch.analyses)}
            batch = replace(known, analyses=tuple(analyses.values()))
        self.batches[batch.folder] = batch

    # -- what defines each job -------------------------------------------------------------------------------------

    def fetch_spec(self, dataset: str) -> dict[str, Any]:
        """What decides a dataset's arrays: its kind and source, not how cells use it."""
        variant = self.config["datasets"][dataset]
        return {key: value for key, value in variant.items() if key not in VIEW_KEYS}

    def origin_state(self, dataset: str) -> str:
        """State of the folder or archive that a dataset is read from, its `path`; "none" where nothing is known.

        One that is gone, whose arrays are here, is as it was: the arrays can be used without it.
        """
        path = self.config["datasets"][dataset].get("path")
        state = path and (origin_state(Path(path).expanduser()) or fetched_state(dataset, self.fetch_spec(dataset)))
        return state or "none"

    def missing_origin(self, dataset: str) -> list[str]:
        """What is wrong where the folder or archive of a dataset that is to be fetched is not there."""
        path = self.config["datasets"][dataset].get("path")
        if path is None or Path(path).expanduser().exists():
            return []
        problem = f"got {path!r}: nothing is there; allowed: the folder or archive of the images"
        return [str(self.sources.error(("datasets", dataset, "path"), problem))]

    def measure_spec(self, folder: str) -> dict[str, Any]:
        """The training's spec with the analyses."""
        batch = self.batches[folder]
        return {**batch.train, "analyses": list(batch.analyses)}

    def check_spec(self, paper: str) -> dict[str, Any]:
        """The batches, checks and claims of a paper."""
        settings = self.config["papers"][paper]
        batches = self.of_paper(paper)
        return {
            "scale": self.scale,
            "paper": paper,
            "batches": [batch.folder.partition("/")[2] for batch in batches],
            "unmeasured": [batch.folder.partition("/")[2] for batch in batches if not batch.analyses],
            "skipped": self.skipped.get(paper, []),
            "checks": settings.get("checks", {}),
            "claims": settings.get("claims", {}),
        }

    def report_spec(self) -> dict[str, Any]:
        """The papers and the effective config: what the cells are made of, without variants that none uses."""
        used: dict[str, set[str]] = {section: set() for section in VARIANTS}
        for batch in self.batches.values():
            used["datasets"] |= {batch.dataset, *([batch.teacher["name"]] if batch.teacher else [])}
            used["models"].add(batch.model)
            used["methods"].add(batch.method)
            used["analyses"] |= {variant["name"] for variant in batch.analyses}
        variants = {
            section: {name: variant for name, variant in self.config[section].items() if name in names}
            for section, names in used.items()
        }
        papers = {key: self.config["papers"][key] for key in self.papers}
        return {"scale": self.scale, "papers": self.papers, "config": {**self.config, **variants, "papers": papers}}

    def job_modules(self) -> list[str]:
        """The modules that the jobs import, without the report, which is one job."""
        modules = {"boundcheck.report.check"}
        for dataset in self.datasets:
            modules.update(fetch_modules(self.fetch_spec(dataset)))
        for folder, batch in self.batches.items():
            modules.update(train_modules(batch.train), measure_modules(self.measure_spec(folder)))
        return sorted(modules)

    def fetch_code(self, dataset: str) -> str:
        """Version of the code that decides a dataset's arrays."""
        return code_version(*fetch_modules(self.fetch_spec(dataset)))

    def train_code(self, folder: str) -> str:
        """Version of the code that decides a batch's curves and snapshots."""
        return code_version(*train_modules(self.batches[folder].train))

    def measure_code(self, folder: str) -> str:
        """Version of the code that decides a batch's measurements."""
        return code_version(*measure_modules(self.measure_spec(folder)))

    def check_code(self, paper: str) -> str:
        """Version of the code that decides a paper's checks and claims."""
        spec = self.check_spec(paper)
        kinds = [module for section in ("checks", "claims") for module in kind_modules(section, spec[section].values())]
        return code_version("boundcheck.report.check", *kinds)

    def report_code(self) -> str:
        """Version of the code and templates that decide the report."""
        templates = (SOURCE / "boundcheck" / "report" / "templates").glob("*")
        return code_version("boundcheck.report.report", files=templates)

    def kinds_code(self) -> str:
        """Version of all code that decides whether the config's variants can be built."""
        variants = [(section, self.config[section].values()) for section in VARIANTS]
        for paper in self.config["papers"].values():
            variants += [(section, paper.get(section, {}).values()) for section in ("checks", "claims")]
            variants += [("record", block.get("record", [])) for block in paper["grid"]]
        modules = [module for section, entries in variants for module in kind_modules(section, entries)]
        return code_version("boundcheck.jobs.validate", *modules)
