"""Write the report of a scale: one page that needs nothing but itself, its figures as SVG and its tables as CSV."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from boundcheck.stages.drawing import PALETTE, draw, inline, looks
from boundcheck.stages.page import ClaimSection, PaperSection, count_decisions, read_paper
from boundcheck.stages.wording import links

TEMPLATES = Path(__file__).parent / "templates"


def report(spec: Mapping[str, Any], results: Path, output: Path) -> None:
    """Write `index.html`, `figures/*.svg` and `tables/*.csv` into `output`; equal inputs give equal bytes.

    Args:
        spec: `scale`, `papers` (keys), `config` (the effective one).
        results: `results/<scale>`.
        output: `reports/<scale>`; figures and tables of an earlier report go.
    """
    config = spec["config"]
    headings = yaml.safe_load((TEMPLATES / "papers.yaml").read_text(encoding="utf-8"))
    papers = [
        read_paper(key, config["papers"].get(key, {}), headings.get(key, {}), results / key) for key in spec["papers"]
    ]
    drawings = _draw_all(papers)
    page = _render(spec, papers)
    _replace(output / "figures", ".svg", drawings)
    _replace(output / "tables", ".csv", {name: frame.to_csv(index=False) for name, frame in _tables(papers).items()})
    _write(output / "index.html", page)


def _draw_all(papers: Sequence[PaperSection]) -> dict[str, str]:
    """Draw every figure, hang it into its claim, and return the files by name."""
    claims = [(paper, claim) for paper in papers for claim in paper.claims]
    names = [_coloured(settings, data) for _, claim in claims for settings, data in claim.figures]
    shared = looks(set().union(*names)) if len(set().union(*names)) <= len(PALETTE) else None
    files = {}
    for position, (paper, claim) in enumerate(claims):
        for index, (settings, data) in enumerate(claim.figures):
            drawable = data[np.isfinite(data["y"])]
            if len(drawable):
                name, caption = f"{paper.key}_{claim.name}_{index}", settings["caption"]
                files[name] = draw(drawable, settings, shared or looks(drawable["series"]))
                svg = inline(files[name], f"f{position}-{index}", f"{claim.statement} {caption}")
                claim.drawings.append({"svg": svg, "caption": caption, "file": name})
    return files


def _coloured(settings: Mapping[str, Any], data: pd.DataFrame) -> set[str]:
    """The series of a figure that have a colour: the same one in all figures, where the palette suffices for all."""
    return set() if settings["mark"] == "heatmap" else set(data.loc[data["panel"] != "", "series"])


def _render(spec: Mapping[str, Any], papers: Sequence[PaperSection]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["links"] = links
    return environment.get_template("report.html").render(
        scale=spec["scale"],
        papers=papers,
        counts=count_decisions(papers),
        config=yaml.safe_dump(spec["config"], sort_keys=True, allow_unicode=True),
    )


def _tables(papers: Sequence[PaperSection]) -> dict[str, pd.DataFrame]:
    """The CSV files by name: the verdicts of all papers; cells, runs, checks and evidence of each."""
    columns = [field.name for field in fields(ClaimSection) if field.name not in ("evidence", "figures", "drawings")]
    verdicts = [{"paper": p.key, **{c: getattr(claim, c) for c in columns}} for p in papers for claim in p.claims]
    files = {"verdicts": pd.DataFrame(verdicts, columns=["paper", *columns])}
    for paper in papers:
        named = {
            "cells": paper.cells.frame,
            "checks": paper.checks.frame,
            "absent": paper.absent.frame,
            "runs": paper.runs,
        }
        files |= {f"{paper.key}_{name}": frame for name, frame in named.items()}
        files |= {f"{paper.key}_claim_{c.name}": c.evidence.frame for c in paper.claims if c.evidence}
    return files


def _replace(folder: Path, suffix: str, files: Mapping[str, str]) -> None:
    """Make the folder hold exactly these files of this kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"*{suffix}"):
        if stale.stem not in files:
            stale.unlink()
    for name, text in files.items():
        _write(folder / f"{name}{suffix}", text)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
