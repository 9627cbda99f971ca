"""Reads the folder of one batch. Nothing is used that is not what its manifests say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from boundcheck import tables
from boundcheck.cells.inputs import measured_inputs
from boundcheck.manifests import MEASURE_PROVENANCE, PROVENANCE, ResultError, made_again, read_manifest, require_spec


class BatchFolder(NamedTuple):
    """What is in the folder of a batch.

    - `training`: the manifest of its training.
    - `curves`, `measurements`: as tables.TIDY and tables.MEASUREMENTS.
    - `measure_code`: version of the code that measured it; empty if it is not measured.
    """

    training: Mapping[str, Any]
    curves: pa.Table
    measurements: pa.Table
    measure_code: str


def read_batch(folder: Path, identity: Mapping[str, str], is_measured: bool) -> BatchFolder:
    """Read a batch, and compare its files with its manifests.

    Args:
        folder: `results/<scale>/<study>/<dataset>/<model>/<method>/<seeds>`.
        identity: what it must be made from; see `Plan.identity`.
        is_measured: whether it has measurements.

    Raises:
        ResultError: a file is missing, damaged, or made from other settings; or the measurements are of other weights.
    """
    path = folder / PROVENANCE
    training = read_manifest(path, "train")
    require_spec(path, training, identity["train"], output=path)
    curves = tables.read(folder / "curves.parquet", tables.TIDY, training)
    if not is_measured:
        return BatchFolder(training, curves, tables.MEASUREMENTS.empty_table(), "")
    file, path = folder / "measurements.parquet", folder / MEASURE_PROVENANCE
    measuring = read_manifest(path, "measure", output=file)
    require_spec(path, measuring, identity["measure"], output=file)
    if measuring["inputs"] != measured_inputs(training):
        raise ResultError(made_again(file, "measured on other weights or data than those of the training beside it"))
    measurements = tables.read(file, tables.MEASUREMENTS, measuring)
    return BatchFolder(training, curves, measurements, measuring["code"])
