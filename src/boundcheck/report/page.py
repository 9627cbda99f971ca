"""The section of each paper in a report: its claims with their verdicts and evidence, and its tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from boundcheck import tables
from boundcheck.contracts import NAN
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


def read_paper(key: str, statements: Statements, heading: Mapping[str, Any], folder: Path) -> PaperSection:
    """The section of a paper, read from its four tables. If the verdicts are missing, its claims are "not run".

    Args:
        key: the paper's key.
        statements: the `statement` and `reference` of each claim.
        heading: the paper's `title` and `authors`; optionally an `introduction`, and `published`: published results as
            a list of setting, figures and source. Empty for a study without a paper.
        folder: `results/<scale>/<key>`.
    """
    what = "paper" if heading else "study"
    checks, _ = _read(folder / "checks.parquet", tables.CHECKS, what)
    claims, why = _read(folder / "claims.parquet", tables.CLAIMS, what)
    figures, _ = _read(folder / "figures.parquet", tables.FIGURES, what)
    runs, _ = _read(folder / "runs.parquet", tables.RUNS, what)
    if why:
        sections = [
            ClaimSection(name, decision="not run", reason=why, **_words(statements, name)) for name in statements
        ]
    else:
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
    )


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


def _read(path: Path, schema: pa.Schema, what: str) -> tuple[pd.DataFrame, str]:
    """The table and ""; or, if it cannot be read, an empty table and the reason."""
    try:
        return pq.read_table(path, schema=schema).to_pandas(), ""
    except FileNotFoundError:
        return schema.empty_table().to_pandas(), f"this scale has no {path.name} of the {what}"
    except (pa.ArrowException, OSError) as error:
        return schema.empty_table().to_pandas(), f"{path.name} cannot be read ({type(error).__name__})"
