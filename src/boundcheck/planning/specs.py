"""Spec files: the settings that define a job, in a file named by the hash of its content. No torch."""

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
    """The specs of a plan and their files. A file is written when a run begins, if it does not exist yet."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def path(self, folder: str, spec: Mapping[str, Any]) -> str:
        """The file of a spec: `<folder>/specs/<first 16 digits of its sha256>.json`."""
        text = json.dumps(spec)
        path = f"{folder}/{FOLDER}/{_digest(text)}.json"
        self._texts[path] = text
        return path

    def write(self, path: str) -> None:
        """Write the spec for which `path` returned this path, unless the file exists."""
        if not Path(path).exists():
            write_text(self._texts[path], Path(path))


def read_spec(file: Path) -> dict[str, Any]:
    """Read the spec in a file.

    Raises:
        ConfigError: the file does not exist, or its content does not have the hash in its name.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        advice = "the config has changed since the run began; start Snakemake again"
        raise ConfigError(f"--spec: {file} does not exist: {advice}") from None
    if _digest(text) != file.stem:
        advice = "delete the file, Snakemake writes it again"
        raise ConfigError(f"--spec: {file} was changed: the digest of its content is {_digest(text)}; {advice}")
    return json.loads(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
