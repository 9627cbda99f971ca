"""The fetch stage: write one dataset, from its source, to one checked array file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.contracts import Dataset
from boundcheck.data import DATASETS
from boundcheck.data.arrays import FILE_NAME, arrays_digest
from boundcheck.data.errors import DataError, require
from boundcheck.manifests import PROVENANCE, write_manifest
from boundcheck.registry import build


def fetch(
    spec: Mapping[str, Any], output: Path, modules: Mapping[str, str] | None = None, source: str = "none"
) -> None:
    """Write the array file of a dataset to `output`, atomically, and `provenance.json` beside it.

    Args:
        spec: The variant: `kind` and its fields, without the fields of `View`.
        output: Path of the array file, `<folder>/arrays.safetensors`.
        modules: Versions of the modules that decide the arrays.
        source: State of the folder or archive that is read (`planning.source_state`); "none" if there is none.

    Raises:
        DataError: the source or the disk failed, or the kind wrote no array file; the message says what to do.
        ValueError: the kind is unknown, it refuses a value, or `output` has another file name.
    """
    require(output.name == FILE_NAME, "output", str(output), f"a path that ends in {FILE_NAME}")
    dataset: Dataset = build(DATASETS, spec)
    dataset.fetch(output.parent)
    if not output.is_file():
        advice = "its `fetch` must write it, by boundcheck.data.arrays.write_arrays"
        raise DataError(f"{output}: the kind {spec['kind']!r} wrote no such file; {advice}")
    provenance = {"spec": spec, "modules": modules or {}, "source": source, "arrays": arrays_digest(output)}
    write_manifest(output.with_name(PROVENANCE), provenance, outputs=())
