"""Specs as files: what defines a job, in a file that is named by its content. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.atomic_files import write_text
from boundcheck.planning.yaml_files import ConfigError

FOLDER = "specs"


class SpecFiles:
    """The specs of a plan and their files, which are written when a run begins, and only if they are absent."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def path(self, folder: str, spec: Mapping[str, Any]) -> str:
        """The file of a spec: `<folder>/specs/<first 16 digits of its sha256>.json`."""
        text = json.dumps(spec)
        path = f"{folder}/{FOLDER}/{_digest(text)}.json"
        self._texts[path] = text
        return path

    def write(self, path: str) -> None:
        """Write the spec that `path` named, unless the file is there."""
        if not Path(path).exists():
            write_text(self._texts[path], Path(path))


def read_spec(file: Path) -> dict[str, Any]:
    """The spec in a file.

    Raises:
        ConfigError: there is no such file, or its content is not the one that its name says.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        advice = "a job of a config that has changed since its run began; start Snakemake again"
        raise ConfigError(f"--spec: {file} is not there: {advice}") from None
    if _digest(text) != file.stem:
        raise ConfigError(f"--spec: {file} has another content than its name says: its digest is {_digest(text)}")
    return json.loads(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
