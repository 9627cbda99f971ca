"""The fetch stage: write one dataset, from its source, to one checked array file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from boundcheck.contracts import Dataset
from boundcheck.data import DATASETS
from boundcheck.data.arrays import FILE_NAME, arrays_digest
from boundcheck.data.errors import DataError, require
from boundcheck.manifests import PROVENANCE, write_manifest
from boundcheck.registry import build

SHOWN_CLASSES = 20  # all are in provenance.json


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
    read = dict(dataset.fetch(output.parent) or {})
    if not output.is_file():
        advice = "its `fetch` must write it, by boundcheck.data.arrays.write_arrays"
        raise DataError(f"{output}: the kind {spec['kind']!r} wrote no such file; {advice}")
    for line in told(read):
        print(line, flush=True)
    provenance = {"spec": spec, "modules": modules or {}, "source": source, "read": read}
    write_manifest(output.with_name(PROVENANCE), "fetch", {**provenance, "arrays": arrays_digest(output)}, outputs=())


def told(read: Mapping[str, Any]) -> Iterator[str]:
    """What a dataset said about its fetch, in lines for the log. Names are quoted: they can hold any character."""
    classes = read.get("classes", [])
    for number, name in enumerate(classes[:SHOWN_CLASSES]):
        counts = ", ".join(f"{split} {pictures[name]}" for split, pictures in read["pictures"].items())
        yield f"class {number}: {name!r}: {counts}"
    if len(classes) > SHOWN_CLASSES:
        yield f"and {len(classes) - SHOWN_CLASSES} more classes: see provenance.json"
    for reason, files in read.get("passed over", {}).items():
        yield f"passed over: {files['files']} ({reason}), first {files['first']!r}"
    for change, count in read.get("changed", {}).items():
        yield f"changed: {count} pictures: {change}"
