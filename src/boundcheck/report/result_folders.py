"""Reads the batch folders of one study into the tables that checks and claims use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors.numpy import load

from boundcheck import tables
from boundcheck.contracts import NAN
from boundcheck.manifests import verified_bytes
from boundcheck.report.batch_folder import read_batch
from boundcheck.verdicts import ArraysBySeed, Tables, Views

CELL = ("dataset", "model", "method")
RUN_COLUMNS = [name for name in tables.RUNS.names if name != "epoch" and not name.endswith(("_last", "_best"))]
RESOLVED = ("dataset_spec", "model_spec", "method_spec", "training", "record", "roles")  # columns of the run table


def read_tables(
    batches: Mapping[str, Mapping[str, str]],
    cells: Mapping[str, Mapping[str, Any]],
    skipped: Sequence[Mapping[str, str]],
    results: Path,
    missing: Mapping[str, str] = MappingProxyType({}),
    unmeasured: Mapping[str, str] = MappingProxyType({}),
) -> Tables:
    """The tables of a study, without checks. Every file that is read is compared with its manifest.

    Args:
        batches: by folder below `results`, such as `digits/mlp/sgd/seeds_0-2`: what it must be made from; see
            `Plan.identity`.
        cells: by cell, such as `digits/mlp/sgd`: all its settings, its `roles`, and whether it is `measured`.
        skipped: cells that make no sense: dataset, model, method, reason.
        results: `results/<scale>/<study>`.
        missing: batches that are not read, with the reason; they become runs of status `missing`.
        unmeasured: batches whose measurements are not read, with the reason.

    Raises:
        ResultError: a file of another batch is missing, damaged, or made from other settings.
    """
    curves, measurements, runs, manifests = [], [], [], {}
    for batch, identity in batches.items():
        names = dict(zip(CELL, batch.split("/"), strict=False))
        cell = cells[batch.rpartition("/")[0]]
        if batch in missing:
            runs += _runs(batch, cell, {}, "", missing[batch])
            curves.append(_with_names(tables.TIDY.empty_table(), names))
            measurements.append(_with_names(tables.MEASUREMENTS.empty_table(), names))
            continue
        is_measured = cell["measured"] and batch not in unmeasured
        read = read_batch(results / batch, identity, is_measured)
        curves.append(_with_names(read.curves, names))
        measurements.append(_with_names(read.measurements, names))
        runs += _runs(batch, cell, read.training, read.measure_code, unmeasured.get(batch, ""))
        manifests[batch] = read.training
    return Tables(
        curves=_frame(curves, tables.TIDY),
        measurements=_frame(measurements, tables.MEASUREMENTS),
        checks=pd.DataFrame(columns=tables.CHECKS.names),
        runs=pd.DataFrame(runs, columns=RUN_COLUMNS),
        skipped=pd.DataFrame(list(skipped), columns=[*CELL, "reason"]),
        arrays=array_reader(manifests, results),
        views=Views(),
    )


def array_reader(
    manifests: Mapping[str, Mapping[str, Any]], results: Path
) -> Callable[[str, str, str, str], ArraysBySeed]:
    """A function that reads the arrays of a callback; see `Tables.arrays`.

    Args:
        manifests: of the trainings, by folder below `results`.
        results: `results/<scale>/<study>`.
    """

    def arrays(dataset: str, model: str, method: str, name: str) -> ArraysBySeed:
        """The arrays that the callback `name` left in the batches of a cell, by seed."""
        file, arrays_of = f"snapshots/{name}.safetensors", dict[int, dict[str, np.ndarray]]()
        for batch, manifest in manifests.items():
            if batch.rpartition("/")[0] == f"{dataset}/{model}/{method}" and file in manifest["files"]:
                named = load(verified_bytes(results / batch / file, manifest, results / batch))
                for seed_index, seed in enumerate(seeds_of(batch)):
                    arrays_of[seed] = {name: values[seed_index] for name, values in named.items()}
        return arrays_of

    return arrays


def seeds_of(batch: str) -> list[int]:
    """The seeds that a batch folder names: `.../seeds_0-2` -> [0, 1, 2]."""
    first, _, last = batch.rpartition("/")[2].removeprefix("seeds_").partition("-")
    return list(range(int(first), int(last or first) + 1))


def _runs(
    batch: str, cell: Mapping[str, Any], training: Mapping[str, Any], measure_code: str, reason: str
) -> list[dict[str, Any]]:
    """The rows of a batch in the run table.

    Args:
        batch: its folder below the study.
        cell: its settings.
        training: the manifest of its training; empty for a batch that is missing.
        measure_code: the version of the code that measured it.
        reason: why the batch or its measurements are missing.
    """
    seeds = seeds_of(batch)
    common = {
        "batch": batch,
        **dict(zip(CELL, batch.split("/"), strict=False)),
        "wall_seconds": training.get("wall_seconds", NAN) / len(seeds),
        "cpu_seconds": training.get("cpu_seconds", NAN) / len(seeds),
        **{key: training.get(key) for key in ("num_parameters", "num_gradients", "device", "threads", "code")},
        "measure_code": measure_code,
        "versions": {**training.get("versions", {}), **training.get("machine", {})},
        **{f"{key}_spec": cell[key] for key in CELL},
        "training": cell["training"],
        "record": cell["record"],
        "roles": cell["roles"],
    }
    known = training.get("runs", [{"seed": seed, "status": "missing"} for seed in seeds])
    told = [{**run, "reason": "; ".join(filter(None, (run.get("reason"), reason)))} for run in known]
    return [{**common, **{key: run.get(key) for key in ("seed", "status", "reason", "step")}} for run in told]


def _with_names(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    for position, (key, name) in enumerate(names.items()):
        table = table.add_column(position, key, pa.repeat(pa.scalar(name), len(table)))
    return table


def _frame(parts: Sequence[pa.Table], schema: pa.Schema) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=[*CELL, *schema.names])
    return pa.concat_tables(parts).to_pandas()
