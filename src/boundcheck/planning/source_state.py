"""The folder or archive that a dataset is read from: is it there, and has it changed since? No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEPTH = 2  # folders below the top whose change is seen: splits and classes


def origin_state(path: Path) -> str | None:
    """What changes when files are added to a folder, removed from it or renamed, or an archive is replaced.

    Only the times of folders are read, not of files: ImageNet's two thousand and not its million. So a picture that is
    overwritten in place goes unseen.

    Args:
        path: a folder or an archive.

    Returns:
        A hash in hexadecimal digits; None where nothing is there.
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


def fetched_state(data: str, spec: Mapping[str, Any], root: Path = Path()) -> str | None:
    """The state of what the arrays below data/<data> were made from; None without arrays of this very spec."""
    folder = root / "data" / data
    if not (folder / "arrays.safetensors").exists():
        return None
    try:
        known = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return known["source"] if known["spec"] == spec else None
    except (OSError, ValueError, KeyError):
        return None
