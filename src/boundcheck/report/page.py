"""The section of each paper in a report: its claims with their verdicts and evidence, and its tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from boundcheck import tables
from boundcheck.contracts import NAN
from boundcheck.manifests import CHECK_PROVENANCE, read_manifest, require_spec
from boundcheck.report.check import made_anew
from boundcheck.report.summaries import Table, absent_runs, cell_summary, check_summary, provenance_summary
from boundcheck.report.wording import interval, number

Statements = Mapping[str, Mapping[str, str]]  # by claim, its `statement`, `reference` and `paper_value`
DECISIONS = ("supported", "contradicted", "inconclusive", "vacuous", "not run")


@dataclass
class ClaimSection:
    """One claim of the page. `figures` are pairs (settings, data); the report draws them into `drawings`."""

    name: str
    statement: str
    reference: str
    decision: str
    reason: str
    effect: float = NAN
    low: float = NAN
    high: float = NAN
    unit: str = ""
    num_runs: int = 0
    num_runs_needed: int | None = None
    tightness: float = NAN
    paper_value: str = "not available"
    evidence: Table | None = None
    figures: Sequence[tuple[Mapping[str, Any], pd.DataFrame]] = ()
    drawings: list[dict[str, str]] = field(default_factory=list)

    @property
    def effect_text(self) -> str:
        """The effect with its interval; "–" if there is none."""
        return interval(self.effect, self.low, self.high, self.unit)

    @property
    def tightness_text(self) -> str:
        """The tightness; "–" if there is none."""
        return number(self.tightness)


@dataclass
class PaperSection:
    """One paper of the page, or one study without a paper; such a study has no authors."""

    key: str
    title: str
    authors: str
    introduction: str
    published: Table
    claims: list[ClaimSection]
    checks: Table
    cells: Table
    absent: Table
    provenance: Table
    runs: pd.DataFrame
    warnings: Sequence[str] = ()


def read_paper(
    key: str, statements: Statements, heading: Mapping[str, Any], folder: Path, spec: Mapping[str, Any]
) -> PaperSection:
    """The section of a paper, read from its four tables.

    Args:
        key: the paper's key.
        statements: the `statement` and `reference` of each claim.
        heading: the paper's `title` and `authors`; optionally an `introduction`, and `published`: published results as
            a list of setting, figures and source. Empty for a study without a paper.
        folder: `results/<scale>/<key>`.
        spec: of the report: what its tables must be made from.

    Raises:
        ResultError: a table is missing, damaged, or made from other settings.
    """
    path = folder / CHECK_PROVENANCE
    manifest = read_manifest(path, "check")
    require_spec(path, manifest, spec["checks"][key], output=path)
    checks, claims, figures, runs = (
        tables.read(folder / f"{name}.parquet", schema, manifest).to_pandas()
        for name, schema in (
            ("checks", tables.CHECKS),
            ("claims", tables.CLAIMS),
            ("figures", tables.FIGURES),
            ("runs", tables.RUNS),
        )
    )
    sections = [
        _claim(row, _words(statements, row["claim"]), figures[figures["claim"] == row["claim"]])
        for row in claims.to_dict("records")
    ]
    return PaperSection(
        key,
        heading.get("title", key),
        heading.get("authors", ""),
        heading.get("introduction", ""),
        Table(pd.DataFrame(heading.get("published", []))),
        sections,
        checks=Table(check_summary(checks)),
        cells=Table(cell_summary(runs)),
        absent=Table(absent_runs(runs)),
        provenance=Table(provenance_summary(runs)),
        runs=runs,
        warnings=[*manifest["warnings"], *_other_code(manifest["code"], spec.get("check_code", {}).get(key))],
    )


def _other_code(code: str, expected: str | None) -> list[str]:
    """A line where the checks and claims were made by another version of the code."""
    is_other = expected and code and code != expected
    return [f"The checks and claims were made by another version of the code; {made_anew('check')}"] if is_other else []


def count_decisions(papers: Sequence[PaperSection]) -> list[tuple[str, int]]:
    """The number of claims with each decision."""
    claims = [claim.decision for paper in papers for claim in paper.claims]
    return [(decision, claims.count(decision)) for decision in DECISIONS]


def _words(statements: Statements, claim: str) -> dict[str, Any]:
    """The statement, the reference and the published value of a claim; without a statement, its name."""
    return {"statement": claim, "reference": "", **statements.get(claim, {})}


def _claim(row: Mapping[Any, Any], words: Mapping[str, Any], figures: pd.DataFrame) -> ClaimSection:
    cells = pd.DataFrame(json.loads(row["cells"])).replace({"inf": math.inf, "-inf": -math.inf})
    verdict = (
        "decision",
        "reason",
        "effect",
        "low",
        "high",
        "unit",
        "tightness",
    )
    return ClaimSection(
        name=row["claim"],
        num_runs=int(row["num_runs"]),
        num_runs_needed=None if pd.isna(row["num_runs_needed"]) else int(row["num_runs_needed"]),
        evidence=Table(cells) if len(cells) else None,
        figures=[(s, figures[figures["figure"] == index]) for index, s in enumerate(json.loads(row["figures"]))],
        **{name: row[name] for name in verdict},
        **words,
    )
