"""Files by their names below a folder, of which none is too large, a pipe or a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from boundcheck.data.errors import DataError, explained
from boundcheck.planning.folder_walk import walk

MAX_FILE_BYTES = 2**28  # of one file; no picture is as large
PIECE = 1 << 20


class Files(Protocol):
    """The files of a folder or an archive. `names` are relative, with slashes, in the order that is fastest to read."""

    @property
    def names(self) -> list[str]: ...

    @property
    def repeats(self) -> list[str]:
        """Names of folders that were passed over, because they are links to folders that have another name here."""
        ...

    def doubles(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are the same file as another one of them."""
        ...

    def read(self, name: str) -> bytes:
        """The content of one file, of at most MAX_FILE_BYTES."""
        ...


class Folder:
    """The files below a folder. Links are followed, because the folder belongs to the user, but to each folder once."""

    def __init__(self, path: Path) -> None:
        self._top = f"{path}{os.sep}"  # strings: making a Path takes as long as decoding a small picture
        walked = list(walk(path, _refuse_folder))
        self.repeats = [folder.name for folder in walked if folder.repeats]
        below = ((f"{folder.name}/" if folder.name else "", folder.files) for folder in walked)
        self.names = sorted(top + file for top, files in below for file in files)

    def doubles(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are the same file as another one of them; rather links than the file itself."""
        files: dict[tuple[int, int], str] = {}
        found = set()
        for name in sorted(names, key=lambda name: (os.path.islink(self._top + name), name)):
            with suppress(OSError):  # told when it is read
                about = os.stat(self._top + name)
                if files.setdefault((about.st_dev, about.st_ino), name) != name:
                    found.add(name)
        return found

    def read(self, name: str) -> bytes:
        """The content of one file. What is no regular file is refused before it is opened: a pipe would never end."""
        path = self._top + name
        with explained(path, "make the file readable or remove it", OSError):
            if os.path.islink(path) and not os.path.lexists(os.path.realpath(path)):
                problem = f"a link to {os.readlink(path)!r}, where nothing is"
                raise DataError(f"{path}: {problem}; put the file there or remove the link")
            about = os.stat(path)
            refuse_kind(path, about.st_mode)
            refuse_size(path, about.st_size)
            with open(path, "rb") as file:
                return limited(file, path)


def refuse_kind(path: object, mode: int) -> None:
    """Refuse what is no file."""
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file, but a pipe, a socket or a device; remove it")


def _refuse_folder(error: OSError) -> None:
    """Fail if a folder cannot be read; by default it would be left out silently."""
    raise DataError(f"{error.filename}: {error.strerror}; make the folder readable or remove it") from error


def limited(file: IO[bytes], subject: str, size: int = PIECE) -> bytes:
    """The content of an open file, which is read `size` bytes at a time and not beyond the limit."""
    pieces, total = [], 0
    while piece := file.read(size):
        pieces.append(piece)
        total += len(piece)
        refuse_size(subject, total)
    return b"".join(pieces)


def refuse_size(subject: str, size: int) -> None:
    """Refuse a file that is too large."""
    if size > MAX_FILE_BYTES:
        raise DataError(f"{subject}: more than {MAX_FILE_BYTES:,} bytes; make the file smaller or remove it")
