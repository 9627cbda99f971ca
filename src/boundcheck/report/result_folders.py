"""Reads the batch folders of one study into the tables that checks and claims use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from boundcheck import tables
from boundcheck.contracts import NAN
from boundcheck.verdicts import ArraysBySeed, Tables, Views

CELL = ("dataset", "model", "method")
RUN_COLUMNS = [name for name in tables.RUNS.names if name != "epoch" and not name.endswith(("_last", "_best"))]
RESOLVED = ("dataset_spec", "model_spec", "method_spec", "training", "record", "roles")  # columns of the run table


def read_tables(
    batches: Sequence[str],
    cells: Mapping[str, Mapping[str, Any]],
    skipped: Sequence[Mapping[str, str]],
    results: Path,
) -> Tables:
    """The tables of a study, without checks. Batches that are not on disk become runs of status `missing`.

    Args:
        batches: folders below `results`, such as `digits/mlp/sgd/seeds_0-2`.
        cells: by cell, such as `digits/mlp/sgd`: all its settings, its `roles`, and whether it is `measured`.
        skipped: cells that make no sense: dataset, model, method, reason.
        results: `results/<scale>/<study>`.
    """
    curves, measurements, runs = [], [], []
    for batch in batches:
        names = dict(zip(CELL, batch.split("/"), strict=False))
        curve, why_no_curve = _read_parquet(results / batch / "curves.parquet", tables.TIDY)
        measured, why_no_measurement = tables.MEASUREMENTS.empty_table(), ""
        cell = cells[batch.rpartition("/")[0]]
        if cell["measured"]:
            measured, why_no_measurement = _read_parquet(results / batch / "measurements.parquet", tables.MEASUREMENTS)
        curves.append(_with_names(curve, names))
        measurements.append(_with_names(measured, names))
        runs += _runs(results / batch, batch, cell, why_no_curve, why_no_measurement)
    return Tables(
        curves=_frame(curves, tables.TIDY),
        measurements=_frame(measurements, tables.MEASUREMENTS),
        checks=pd.DataFrame(columns=tables.CHECKS.names),
        runs=pd.DataFrame(runs, columns=RUN_COLUMNS),
        skipped=pd.DataFrame(list(skipped), columns=[*CELL, "reason"]),
        arrays=array_reader(batches, results),
        views=Views(),
    )


def array_reader(batches: Sequence[str], results: Path) -> Callable[[str, str, str, str], ArraysBySeed]:
    """A function that reads the arrays of a callback; see `Tables.arrays`.

    Args:
        batches: folders below `results`.
        results: `results/<scale>/<study>`.
    """

    def arrays(dataset: str, model: str, method: str, name: str) -> ArraysBySeed:
        """The arrays that the callback `name` left in the batches of a cell, by seed."""
        arrays_of: dict[int, dict[str, np.ndarray]] = {}
        for batch in batches:
            path = results / batch / "snapshots" / f"{name}.safetensors"
            if batch.rpartition("/")[0] == f"{dataset}/{model}/{method}" and path.exists():
                named = load_file(path)
                for seed_index, seed in enumerate(seeds_of(batch)):
                    arrays_of[seed] = {name: values[seed_index] for name, values in named.items()}
        return arrays_of

    return arrays


def seeds_of(batch: str) -> list[int]:
    """The seeds that a batch folder names: `.../seeds_0-2` -> [0, 1, 2]."""
    first, _, last = batch.rpartition("/")[2].removeprefix("seeds_").partition("-")
    return list(range(int(first), int(last or first) + 1))


def _runs(
    folder: Path, batch: str, cell: Mapping[str, Any], why_no_curve: str, why_no_measurement: str
) -> list[dict[str, Any]]:
    provenance, why_no_provenance = _read_provenance(folder / "provenance.json")
    why_missing = why_no_provenance or why_no_curve
    seeds = seeds_of(batch)
    by_seed = {run["seed"]: run for run in provenance.get("runs", [])}
    common = {
        "batch": batch,
        **dict(zip(CELL, batch.split("/"), strict=False)),
        "wall_seconds": provenance.get("wall_seconds", NAN) / len(seeds),
        "cpu_seconds": provenance.get("cpu_seconds", NAN) / len(seeds),
        **{key: provenance.get(key) for key in ("num_parameters", "num_gradients", "device", "threads", "code")},
        "versions": provenance.get("versions", {}),
        **{f"{key}_spec": cell.get(key, {}) for key in CELL},
        "training": cell.get("training", {}),
        "record": cell.get("record", []),
        "roles": cell["roles"],
    }
    runs = []
    for seed in seeds:
        run = by_seed.get(seed, {"status": "missing", "reason": "provenance.json does not list it"})
        if why_missing:
            run = {"status": "missing", "reason": why_missing}
        reason = "; ".join(filter(None, (run.get("reason", ""), "" if why_missing else why_no_measurement)))
        runs.append({**common, "seed": seed, "status": run["status"], "reason": reason, "step": run.get("step")})
    return runs


def _read_parquet(path: Path, schema: pa.Schema) -> tuple[pa.Table, str]:
    """The table and ""; or, if it cannot be read, an empty table and the reason."""
    try:
        return pq.read_table(path, columns=schema.names).cast(schema), ""
    except FileNotFoundError:
        return schema.empty_table(), f"there is no {path.name}"
    except (pa.ArrowException, OSError) as error:
        return schema.empty_table(), f"{path.name} cannot be read ({type(error).__name__})"


def _read_provenance(path: Path) -> tuple[dict[str, Any], str]:
    try:
        return json.loads(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return {}, f"there is no {path.name}"
    except (ValueError, OSError) as error:
        return {}, f"{path.name} cannot be read ({type(error).__name__})"


def _with_names(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    for position, (key, name) in enumerate(names.items()):
        table = table.add_column(position, key, pa.repeat(pa.scalar(name), len(table)))
    return table


def _frame(parts: Sequence[pa.Table], schema: pa.Schema) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=[*CELL, *schema.names])
    return pa.concat_tables(parts).to_pandas()
