"""One interface to the files of a folder, a tar or a zip. An archive with links or paths that leave it is refused."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from boundcheck.data.errors import DataError, explained

ADVICE = "the archive is damaged or of another format: make or fetch it again"
DAMAGE = (OSError, EOFError, RuntimeError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)


class Files(Protocol):
    """The files of a folder or an archive. `names` are relative, with slashes, in the order that is fastest to read."""

    @property
    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


class Folder:
    """The files below a folder. Links are followed, because the folder belongs to the user."""

    def __init__(self, path: Path) -> None:
        self._top = f"{path}{os.sep}"  # strings: making a Path takes as long as decoding a small picture
        walk = os.walk(self._top, onerror=_refuse_folder, followlinks=True)
        paths = (os.path.join(top, file) for top, _, files in walk for file in files)
        self.names = sorted(file.removeprefix(self._top).replace(os.sep, "/") for file in paths)

    def read(self, name: str) -> bytes:
        """The content of one file."""
        path = self._top + name
        with explained(path, "make the file readable or remove it", OSError), open(path, "rb") as file:
            return file.read()


def _refuse_folder(error: OSError) -> None:
    """Fail if a folder cannot be read; by default `os.walk` skips it silently."""
    raise DataError(f"{error.filename}: {error.strerror}; make the folder readable or remove it") from error


class Tar:
    """The files of a tar archive, compressed or not, in the order in which the archive holds them."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive, self._members = archive, {}
        for member in archive.getmembers():
            _refuse(str(archive.name), member.name, not (member.isfile() or member.isdir()))
            if member.isfile():
                self._members[str(PurePosixPath(member.name))] = member
        _check_end(archive)
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        """The content of one file."""
        with explained(f"{self._archive.name!s}: {name}", ADVICE, *DAMAGE):
            file = self._archive.extractfile(self._members[name])
            content = file.read() if file else b""
            if len(content) != self._members[name].size:
                raise EOFError("it is cut short")
            return content


def _check_end(archive: tarfile.TarFile) -> None:
    """Check that the archive is complete. `tarfile` does not notice if a tar was cut between two members."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise EOFError("its end is missing")
    while file.read(1 << 20):  # a compressed stream ends with its checksum
        pass


class Zip:
    """The files of a zip archive; each is checked against its CRC when it is read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._members = archive, {}
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            _refuse(str(archive.filename), member.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR))
            if not member.is_dir():
                self._members[str(PurePosixPath(member.filename))] = member
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        """The content of one file."""
        with explained(f"{self._archive.filename}: {name}", ADVICE, *DAMAGE):
            return self._archive.read(self._members[name])


def _refuse(archive: str, name: str, is_special: bool) -> None:
    """Refuse a member that is a link or a device, or whose path leads out of the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or is_special:
        what = "a link or a special file" if is_special else "a name that leads out of the archive"
        raise DataError(f"{archive}: member {name!r} is {what}; make the archive again from plain files")


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """Open a folder, a tar (.tar, .tar.gz, .tgz, ...) or a zip. The content decides which it is, not the name.

    Raises:
        DataError: the path does not exist, is of another format, is damaged, or is not safe to read.
    """
    if path.is_dir():
        yield Folder(path)
        return
    if not path.is_file():
        raise DataError(f"{path}: no such folder or archive; correct the path")
    with explained(path, ADVICE, *DAMAGE):
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path)  # noqa: SIM115
    with archive:
        with explained(path, ADVICE, *DAMAGE):
            files = Zip(archive) if isinstance(archive, zipfile.ZipFile) else Tar(archive)
        yield files


def extract(archive: Path, names: Iterable[str], folder: Path) -> None:
    """Write the files `names` of an archive, and no others, below `folder`.

    Raises:
        DataError: the archive lacks one of them, is damaged or is not safe to read.
    """
    with open_files(archive) as files:
        for name in names:
            if name not in files.names:
                raise DataError(f"{archive}: no member {name!r}; delete the archive and fetch the dataset again")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files.read(name))
