"""The tidy tables: their columns, and how they are written and read (Parquet, whole or not at all)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
    """Write columns (sequences of one length) as Parquet under a temporary name, then rename."""
    table = pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)
