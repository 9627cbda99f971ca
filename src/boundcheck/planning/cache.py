"""Values kept between runs in `.snakemake/boundcheck`. What is damaged counts as absent and is made again.

A file holds one line of JSON, and before it a line with the digest of that line. So no damage is read as a value.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from boundcheck.atomic_files import write_text

FOLDER = Path(".snakemake/boundcheck")


def read_cached(name: str) -> Any:
    """The value that was kept under a name; None if there is none or its file is damaged."""
    path = FOLDER / name
    try:
        if not path.is_file():  # a pipe would keep the reader waiting
            return None
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        return json.loads(text) if digest == _digest(text) else None
    except (OSError, ValueError, RecursionError):
        return None


def keep_cached(name: str, value: Any, most: int) -> None:
    """Keep a value that JSON can hold. If it cannot be written, it is not kept.

    Args:
        name: `<kind>-<hash>.json`; the file's name.
        value: what `read_cached` returns; not None.
        most: how many files of the kind are kept; older ones are deleted.
    """
    path = FOLDER / name
    text = json.dumps(value)
    with contextlib.suppress(OSError):
        make_way(path)
        write_text(f"{_digest(text)}\n{text}", path)
        kept = [file for file in FOLDER.glob(f"{name.partition('-')[0]}-*.json") if file.is_file()]
        for old in sorted(kept, key=lambda file: file.stat().st_mtime)[:-most]:
            old.unlink(missing_ok=True)


def make_way(path: Path) -> None:
    """Make the folder in which a file is to be written, and delete a folder that stands in the file's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
