"""The tidy tables: their columns, and how they are written (Parquet, atomically) and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from boundcheck.atomic_files import replacing
from boundcheck.manifests import verified_bytes

TIDY = pa.schema(
    [
        ("seed", pa.int32()),
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("quantity", pa.string()),
        ("index", pa.int32()),
        ("coordinate", pa.float64()),
        ("value", pa.float64()),
        ("error", pa.float64()),
    ]
)
MEASUREMENTS = TIDY.append(pa.field("analysis", pa.string()))
MEASURED = MEASUREMENTS.append(pa.field("settings", pa.dictionary(pa.int32(), pa.string())))  # the file; JSON
CHECKS = pa.schema(
    [
        ("check", pa.string()),
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int32()),
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("coordinate", pa.float64()),
        ("theorem", pa.string()),
        ("sense", pa.string()),
        ("bound", pa.float64()),
        ("measured", pa.float64()),
        ("tolerance", pa.float64()),
        ("premise_holds", pa.bool_()),
        ("holds", pa.bool_()),
        ("tightness", pa.float64()),
    ]
)


def write(columns: Mapping[str, Any], schema: pa.Schema, path: Path) -> None:
    """Write columns (sequences of equal length) as a Parquet file, atomically.

    Args:
        columns: the values by column name.
        schema: the columns and their types.
        path: the file.
    """
    table = pa.table({name: _array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read(path: Path, schema: pa.Schema, manifest: Mapping[str, Any]) -> pa.Table:
    """The table in a file that `write` wrote.

    Args:
        path: the file.
        schema: the columns to read.
        manifest: the manifest beside it (`manifests.read_manifest`), with the sha256 of the file.

    Raises:
        ResultError: the file is missing, damaged, or not the one in the manifest.
    """
    content = verified_bytes(path, manifest, path.parent)
    return pq.read_table(pa.BufferReader(content), columns=schema.names).cast(schema)


RUNS = pa.schema(
    [
        ("batch", pa.string()),
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int32()),  # -1 for a cell that was skipped
        ("status", pa.string()),  # done, diverged, missing, skipped
        ("reason", pa.string()),
        ("step", pa.int64()),  # the last one
        ("epoch", pa.float64()),
        ("test_accuracy_last", pa.float64()),
        ("test_accuracy_best", pa.float64()),
        ("train_loss_last", pa.float64()),
        ("wall_seconds", pa.float64()),  # the batch's, divided by its seeds
        ("cpu_seconds", pa.float64()),
        ("num_parameters", pa.int64()),
        ("num_gradients", pa.int64()),
        ("device", pa.string()),
        ("threads", pa.int32()),
        ("code", pa.string()),
        ("measure_code", pa.string()),
        ("versions", pa.string()),  # JSON, as the specs
        ("dataset_spec", pa.string()),
        ("model_spec", pa.string()),
        ("method_spec", pa.string()),
        ("training", pa.string()),
        ("record", pa.string()),
        ("roles", pa.string()),
    ]
)
CLAIMS = pa.schema(
    [
        ("claim", pa.string()),
        ("kind", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("effect", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("unit", pa.string()),
        ("num_runs", pa.int64()),
        ("num_runs_needed", pa.int64()),
        ("tightness", pa.float64()),
        ("reasons", pa.string()),  # JSON, a list of {kind, values}: `reason` before it was worded
        ("cells", pa.string()),  # JSON, a list of rows
        ("figures", pa.string()),  # JSON, a list of settings; their data is in FIGURES
    ]
)
FIGURES = pa.schema(
    [
        ("claim", pa.string()),
        ("figure", pa.int32()),
        ("panel", pa.string()),
        ("series", pa.string()),
        ("role", pa.string()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """`pa.array(values, kind)`, faster: for numbers and texts it avoids that pyarrow imports pandas."""
    if len(values) and pa.types.is_string(kind) and all(type(value) is str for value in values):
        encoded = [value.encode() for value in values]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
        return pa.Array.from_buffers(kind, len(encoded), buffers)
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if len(values) and is_number:
        given = np.asarray(values)
        if given.dtype.kind in ("iuf" if pa.types.is_floating(kind) else "iu"):
            numbers = given.astype(kind.to_pandas_dtype())
            if pa.types.is_floating(kind) or (numbers == given).all():
                return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])
    return pa.array(values, kind)
