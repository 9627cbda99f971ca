"""What a finished job says that it was made from. A damaged file is named, with what makes it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.tables import read_metadata


class Damaged(Exception):
    """A file of a finished job cannot be used. The message is one line: the file, the problem and what to do."""

    def __init__(self, path: Path, problem: str, root: Path) -> None:
        """Name a file.

        Args:
            path: the file.
            problem: what is wrong with it.
            root: the folder with results/; the file is named from there.
        """
        super().__init__(f"{path.relative_to(root)}: {problem}; delete it, and the next run makes it again")


def read_provenance(path: Path, root: Path) -> dict[str, Any]:
    """The provenance of a dataset or of a batch.

    Raises:
        Damaged: the file cannot be read.
    """
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(path, f"not a provenance ({_short(error)})", root) from None
    return _checked(provenance, path, root)


def read_measured(path: Path, root: Path) -> dict[str, Any]:
    """The provenance in a file of measurements.

    Raises:
        Damaged: the file cannot be read.
    """
    try:
        provenance = read_metadata(path)
    except Exception as error:  # pyarrow raises errors of many classes
        raise Damaged(path, f"not a table of measurements ({_short(error)})", root) from None
    return _checked(provenance, path, root)


def ends_of_runs(provenance: Mapping[str, Any], path: Path, root: Path) -> list[dict[str, Any]]:
    """How each run of a batch ended: `seed`, `status`, `reason`.

    Raises:
        Damaged: the provenance does not say.
    """
    runs = provenance.get("runs")
    if not isinstance(runs, list) or not all(
        isinstance(run, dict) and {"seed", "status"} <= run.keys() for run in runs
    ):
        raise Damaged(path, "does not say how its runs ended", root)
    return runs


def _checked(provenance: Any, path: Path, root: Path) -> dict[str, Any]:
    if not isinstance(provenance, dict):
        raise Damaged(path, f"must be a mapping of keys, got {type(provenance).__name__}", root)
    for key in ("spec", "modules"):
        if not isinstance(provenance.get(key, {}), dict):
            raise Damaged(path, f"{key} must be a mapping of keys, got {type(provenance[key]).__name__}", root)
    return provenance


def _short(error: Exception) -> str:
    """The first line of an error, or its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
