"""The state of the folder or archive that a dataset is read from, to see whether it has changed. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEPTH = 2  # folders below the top whose change is seen: splits and classes


def source_state(path: Path) -> str | None:
    """A hash that changes when files of a folder are added, removed or renamed, or when an archive is replaced.

    Only the modification times of folders are read, not those of files: for ImageNet two thousand instead of a
    million. So a picture whose file is overwritten is not noticed.

    Args:
        path: a folder or an archive.

    Returns:
        16 hexadecimal digits; None if the path does not exist.
    """
    try:
        about = path.stat()
    except OSError:
        return None
    depth = DEPTH if (path / "train").is_dir() else DEPTH + 1  # one folder above the splits is allowed
    parts = _folder_times(path, depth) if path.is_dir() else [f"{about.st_size} {about.st_mtime_ns}"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _folder_times(folder: Path, depth: int) -> list[str]:
    times = [f"{folder.name} {folder.stat().st_mtime_ns}"]
    try:
        with os.scandir(folder) as entries:
            below = sorted(entry.path for entry in entries if entry.is_dir()) if depth else []
    except OSError:  # it may not be read: the fetch says so
        return [*times, "unreadable"]
    return times + [time for path in below for time in _folder_times(Path(path), depth - 1)]


def recorded_source_state(data: str, spec: Mapping[str, Any], root: Path = Path()) -> str | None:
    """The source state recorded with the arrays below data/<data>; None if there are no arrays of exactly this spec."""
    folder = root / "data" / data
    if not (folder / "arrays.safetensors").exists():
        return None
    try:
        known = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return known["source"] if known["spec"] == spec else None
    except (OSError, ValueError, KeyError):
        return None
