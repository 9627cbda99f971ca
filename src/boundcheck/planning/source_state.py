"""The state of the folder or archive that a dataset is read from, to see whether it has changed. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.planning.folder_walk import walk


def source_state(path: Path) -> str | None:
    """A hash that changes when files of a folder are added, removed or renamed, or when an archive is replaced.

    It looks as deep as the reader does, and follows the same links. Only the modification times of folders are read,
    not those of files: for ImageNet two thousand instead of a million. So a picture whose file is overwritten is not
    noticed.

    Args:
        path: a folder or an archive.

    Returns:
        16 hexadecimal digits; None if the path does not exist.
    """
    try:
        about = path.stat()
        parts = _folder_times(path) if path.is_dir() else [f"{about.st_size} {about.st_mtime_ns}"]
    except (OSError, ValueError):  # ValueError: a path with a null character
        return None
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _folder_times(folder: Path) -> list[str]:
    unreadable: list[OSError] = []  # the fetch says so
    times = [f"{walked.name} {walked.changed_ns}" for walked in walk(folder, unreadable.append)]
    return [*times, *(f"unreadable {error.filename}" for error in unreadable)]


def recorded_source_state(data: str, spec: Mapping[str, Any], root: Path = Path()) -> str | None:
    """The source state recorded with the arrays below data/<data>.

    None if there are no arrays of exactly this spec, or if the record is damaged.
    """
    folder = root / "data" / data
    if not (folder / "arrays.safetensors").exists():
        return None
    try:
        known = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return str(known["source"]) if known["spec"] == spec else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
