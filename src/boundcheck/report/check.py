"""The check stage: check the theorems of one study on its curves and measurements, and decide its claims."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from boundcheck import tables
from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.manifests import CHECK_PROVENANCE, SPEC_DIGEST, digest_of, write_manifest
from boundcheck.registry import build
from boundcheck.report.reasons import as_json, worded
from boundcheck.report.result_folders import RESOLVED, read_tables
from boundcheck.verdicts import Tables, Verdict

KEYS = ["dataset", "model", "method", "seed"]
SUMMARIES = {  # column of the run table -> quantity of the curves, and which of its values
    "test_accuracy_last": ("test_accuracy", "last"),
    "test_accuracy_best": ("test_accuracy", "max"),
    "train_loss_last": ("full_train_loss", "last"),
}


def check(spec: Mapping[str, Any], results: Path, output: Path, code: str = "") -> None:
    """Write `checks.parquet`, `claims.parquet`, `figures.parquet` and `runs.parquet` of one study into `output`.

    `check_provenance.json` is their manifest. Runs that diverged are rows of the run table.

    Args:
        spec: `batches`: by folder, what each is made from; `cells`: by folder, all settings of each cell, its roles,
            and whether it is measured; `skipped`: cells with reasons; `checks` and `claims`: variants by name, without
            the words of claims; of an unfinished scale also `missing` and `unmeasured`: by folder, why a batch or its
            measurements are not there. Claims without data are "not run".
        results: `results/<scale>/<study>`, the folder of the batches.
        output: the folder of the four tables.
        code: version of the code that decides the tables, for the manifest.

    Raises:
        ResultError: a file of a batch is missing, damaged, or made from other settings.
        ValueError: a check or claim has an unknown kind, or its kind refuses a setting.
    """
    absent = {key: spec.get(key, {}) for key in ("missing", "unmeasured")}
    read = read_tables(spec["batches"], spec["cells"], spec["skipped"], results, **absent)
    read = read._replace(checks=check_frame(spec["checks"], read))
    claims = {name: build(CLAIMS, variant) for name, variant in spec["claims"].items()}
    verdicts = {name: claim.decide(read) for name, claim in claims.items()}
    rows = [_claim_row(name, spec["claims"][name]["kind"], verdict) for name, verdict in verdicts.items()]
    frames = {
        "checks": (read.checks, tables.CHECKS),
        "claims": (pd.DataFrame(rows, columns=tables.CLAIMS.names), tables.CLAIMS),
        "figures": (figure_frame(verdicts), tables.FIGURES),
        "runs": (run_frame(read), tables.RUNS),
    }
    for name, (frame, schema) in frames.items():
        _write(frame, schema, output / f"{name}.parquet")
    provenance = {SPEC_DIGEST: digest_of(spec), "code": code, "warnings": other_code(read.runs, spec["batches"])}
    write_manifest(output / CHECK_PROVENANCE, "check", provenance, [output / f"{name}.parquet" for name in frames])


def other_code(runs: pd.DataFrame, batches: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each stage whose files were made by another version of the code than that of now.

    Args:
        runs: the run table.
        batches: what each batch must be made from; see `Plan.identity`.
    """
    lines = []
    for stage, column, done in (("train", "code", "trained"), ("measure", "measure_code", "measured")):
        known = runs[runs["status"] != "missing"].groupby("batch")[column].first()
        others = [batch for batch, code in known.items() if code and code != batches[str(batch)][f"{stage}_code"]]
        if others:
            count = f"{len(others)} of {len(batches)} batches were {done} by another version of the code"
            lines.append(f"{count}, such as {others[0]}; {made_anew(stage)}")
    return lines


def made_anew(stage: str) -> str:
    """What to do about results of other code, which Snakemake keeps after `--touch`."""
    return f"to make all anew: snakemake --cores all --forcerun {stage}, with the same --configfile"


def check_frame(variants: Mapping[str, Mapping[str, Any]], read: Tables) -> pd.DataFrame:
    """The rows of all checks, sorted by check, theorem, run, step and coordinate."""
    frames = [build(CHECKS, variant).rows(read).assign(check=name) for name, variant in variants.items()]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return read.checks
    order = ["check", "theorem", *KEYS, "step", "coordinate"]
    return pd.concat(frames, ignore_index=True)[tables.CHECKS.names].sort_values(order, ignore_index=True)


def figure_frame(verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """The data of all figures, with columns for the name of the claim and the figure's number within it."""
    frames = [
        figure.data.assign(claim=name, figure=number)[tables.FIGURES.names]
        for name, verdict in verdicts.items()
        for number, figure in enumerate(verdict.figures)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=tables.FIGURES.names)


def run_frame(read: Tables) -> pd.DataFrame:
    """The run table with the last and best values of each run, followed by the skipped cells."""
    runs = read.runs.merge(_summaries(read.curves), on=KEYS, how="left")
    for key in ("versions", *RESOLVED):
        runs[key] = [json.dumps(value, sort_keys=True) for value in runs[key]]
    empty = {key: "[]" if key in ("record", "roles") else "{}" for key in ("versions", *RESOLVED)}
    skipped = read.skipped.assign(batch="", seed=-1, status="skipped", **empty)
    return pd.concat([runs, skipped] if len(skipped) else [runs], ignore_index=True).reindex(columns=tables.RUNS.names)


def _summaries(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per run: the columns of SUMMARIES, and the last epoch recorded."""
    ordered = curves.sort_values("step", kind="stable")
    columns = {"epoch": ordered.groupby(KEYS)["epoch"].max()}
    for name, (quantity, which) in SUMMARIES.items():
        columns[name] = ordered[ordered["quantity"] == quantity].groupby(KEYS)["value"].agg(which)
    return pd.DataFrame(columns).reset_index()


def _claim_row(name: str, kind: str, verdict: Verdict) -> dict[str, Any]:
    settings = ("mark", "x_label", "y_label", "caption", "log_x", "log_y")
    figures = [{key: getattr(figure, key) for key in settings} for figure in verdict.figures]
    decided = {key: getattr(verdict, key) for key in tables.CLAIMS.names if hasattr(verdict, key)}
    return {
        **decided,
        "claim": name,
        "kind": kind,
        "reason": worded(verdict.reason),
        "reasons": as_json(verdict.reason),
        "cells": json.dumps([{key: _plain(value) for key, value in cell.items()} for cell in verdict.cells]),
        "figures": json.dumps(figures),
    }


def _plain(value: Any) -> Any:
    """A number for JSON: NaN becomes null, an infinity its name."""
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else str(float(value)) if math.isinf(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value


def _write(frame: pd.DataFrame, schema: pa.Schema, path: Path) -> None:
    """Write a frame. NaN in a column of floats stays NaN; missing values of other columns become null."""
    columns: dict[str, Any] = {}
    for field in schema:
        column = frame[field.name]
        if pa.types.is_floating(field.type):
            columns[field.name] = column.to_numpy(np.float64)
        else:
            as_type = int if pa.types.is_integer(field.type) else lambda value: value
            columns[field.name] = [None if pd.isna(value) else as_type(value) for value in column.tolist()]
    tables.write(columns, schema, path)
