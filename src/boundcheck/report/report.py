"""The report of a scale: one self-contained page, its figures as SVG, and its tables as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from boundcheck.atomic_files import write_text
from boundcheck.manifests import CHECK_PROVENANCE, PROVENANCE, SPEC_DIGEST, digest_of, file_digest, write_manifest
from boundcheck.plain_text import plain
from boundcheck.report.drawing import PALETTE, draw, inline, looks
from boundcheck.report.page import ClaimSection, PaperSection, count_decisions, read_paper
from boundcheck.report.wording import links

TEMPLATES = Path(__file__).parent / "templates"


def report(spec: Mapping[str, Any], results: Path, output: Path, processes: int = 1, code: str = "") -> None:
    """Write `index.html`, `figures/*.svg` and `tables/*.csv` into `output`. Equal inputs give equal bytes.

    `provenance.json` is their manifest.

    Args:
        spec: `scale`; `studies`: their keys; `config`: the config in effect; `statements`: by study, the words of each
            claim; `checks` and `check_code`: by study, the digest of its check's spec, and the version of its code.
        results: `results/<scale>`.
        output: `reports/<scale>`; figures and tables of an earlier report are deleted.
        processes: number of processes that draw figures.
        code: version of the code and the templates, for the manifest.

    Raises:
        ResultError: a table of a study is missing, damaged, or made from other settings.
    """
    headings = yaml.safe_load((TEMPLATES / "papers.yaml").read_text(encoding="utf-8"))
    papers = [
        read_paper(key, spec["statements"].get(key, {}), headings.get(key, {}), results / key, spec)
        for key in spec["studies"]
    ]
    drawings = _draw_all(papers, processes)
    page = _render(spec, papers)
    _replace(output / "figures", ".svg", drawings)
    _replace(output / "tables", ".csv", {name: frame.to_csv(index=False) for name, frame in _tables(papers).items()})
    write_text(plain(page), output / "index.html")
    inputs = {key: file_digest(results / key / CHECK_PROVENANCE) for key in spec["studies"]}
    provenance = {SPEC_DIGEST: digest_of(spec), "code": code, "inputs": inputs}
    outputs = [output / name for name in ("index.html", "figures", "tables")]
    write_manifest(output / PROVENANCE, "report", provenance, outputs)


def _draw_all(papers: Sequence[PaperSection], processes: int) -> dict[str, str]:
    """Draw every figure, add it to its claim, and return the SVG files by name."""
    claims = [(paper, claim) for paper in papers for claim in paper.claims]
    names = [_coloured(settings, data) for _, claim in claims for settings, data in claim.figures]
    shared = looks(set().union(*names)) if len(set().union(*names)) <= len(PALETTE) else None
    drawable = [
        (position, index, settings, data[np.isfinite(data["y"])])
        for position, (_, claim) in enumerate(claims)
        for index, (settings, data) in enumerate(claim.figures)
        if np.isfinite(data["y"]).any()
    ]
    data_frames, all_settings = [job[3] for job in drawable], [job[2] for job in drawable]
    columns = data_frames, all_settings, [shared or looks(data["series"]) for data in data_frames]
    files = {}
    with _mapping(processes) as apply:
        for (position, index, settings, _), svg in zip(drawable, apply(draw, *columns), strict=True):
            paper, claim = claims[position]
            name, caption = f"{paper.key}_{claim.name}_{index}", settings["caption"]
            files[name] = svg
            drawing = inline(svg, f"f{position}-{index}", f"{claim.statement} {caption}")
            claim.drawings.append({"svg": drawing, "caption": caption, "file": name})
    return files


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` that uses `processes` processes. They are forks of this one, because importing matplotlib is slow."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        yield partial(pool.map, chunksize=4)


def _coloured(settings: Mapping[str, Any], data: pd.DataFrame) -> set[str]:
    """The series of a figure that need a colour. If the palette has enough, a series has one colour in all figures."""
    return set() if settings["mark"] in ("heatmap", "picture") else set(data.loc[data["panel"] != "", "series"])


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
    """The CSV files by name: the verdicts of all papers; and the cells, runs, checks and evidence of each paper."""
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
    """Write these files, and delete all other files with this suffix in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"*{suffix}"):
        if stale.stem not in files:
            stale.unlink()
    for name, text in files.items():
        write_text(plain(text), folder / f"{name}{suffix}")
