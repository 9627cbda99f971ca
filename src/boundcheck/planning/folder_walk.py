"""Walk a folder and all that is below it, each folder once: to read pictures, and to see whether they changed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


class Walked(NamedTuple):
    """One folder of a walk.

    `name` is relative to the top, with slashes; "" for the top. `files` are the names of all that is in the folder and
    is no folder, in any order. `repeats` says that the folder was read under another name, or lies above the top: then
    `files` is empty.
    """

    name: str
    files: list[str]
    changed_ns: int = 0  # when entries were last added, removed or renamed
    repeats: bool = False


def walk(top: Path, on_error: Callable[[OSError], None]) -> Iterator[Walked]:
    """The folder `top` and those below it at any depth, in an order that depends on their names only.

    Links to folders are followed after all others, and only if they lead to a folder that was not read yet. So a link
    cannot give a folder a second name, and a link to a folder above cannot make an endless loop.

    Args:
        top: an existing folder.
        on_error: called if a folder cannot be read; it is left out unless this raises an error.
    """
    resolved = top.resolve()
    seen = {_identity(os.stat(folder)) for folder in (resolved, *resolved.parents)}
    folders, links = deque([("", str(top))]), deque[tuple[str, str]]()
    while folders or links:
        is_link = not folders
        name, path = links.popleft() if is_link else folders.popleft()
        try:
            about = os.stat(path)
            if (is_link or name) and _identity(about) in seen:
                yield Walked(name, [], repeats=True)
                continue
            seen.add(_identity(about))
            with os.scandir(path) as entries:
                files, below = [], []
                for entry in entries:
                    if _is_folder(entry):
                        below.append((entry.name, entry.path, entry.is_symlink()))
                    else:
                        files.append(entry.name)
        except OSError as error:
            on_error(error)
            continue
        for own, path_below, leads_on in sorted(below):
            (links if leads_on else folders).append((f"{name}/{own}" if name else own, path_below))
        yield Walked(name, files, about.st_mtime_ns)


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
