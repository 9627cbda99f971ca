"""One interface to the files of a folder, a tar or a zip. An archive with links or paths that leave it is refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from boundcheck.data.errors import DataError, explained
from boundcheck.data.files import PIECE, Files, Folder, limited, refuse_kind, refuse_size

ADVICE = "the archive is damaged or of another format: make or fetch it again"
MAX_UNPACKED_BYTES = 2**30  # of a tar, or MAX_RATIO times its own size if that is more
MAX_RATIO = 200  # of a compressed tar of pictures it is below 10
SMALL_PIECE = 1 << 12  # of the packings whose `read` takes packed bytes: these can become 20,000 times as many
OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open, b"\x5d\0\0": lzma.open}


class Tar:
    """The files of a tar archive, compressed or not, in the order in which the archive holds them."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive, self._members, self.repeats = archive, dict[str, Any](), list[str]()
        for member in archive:
            _refuse(str(archive.name), member.name, not (member.isfile() or member.isdir()))
            if member.isfile():
                _add(self._members, member.name, member, str(archive.name))
        _check_end(archive)
        self.names = list(self._members)

    def doubles(self, names: Iterable[str]) -> set[str]:
        """An archive with links is refused."""
        return set()

    def read(self, name: str) -> bytes:
        """The content of one file."""
        subject = f"{self._archive.name!s}: {name}"
        with explained(subject, ADVICE, Exception):
            refuse_size(subject, self._members[name].size)
            file = self._archive.extractfile(self._members[name])
            content = limited(file, subject) if file else b""
            if len(content) != self._members[name].size:
                raise EOFError("it is cut short")
            return content


class _Unpacked:
    """The plain content of a tar file, read up to a limit: a few bytes can unpack to more than any disk holds."""

    def __init__(self, path: Path, opener: Any) -> None:
        self._file, self.path = opener(path, "rb"), path
        size = path.stat().st_size
        self.limit = size + tarfile.RECORDSIZE if opener is open else max(MAX_UNPACKED_BYTES, MAX_RATIO * size)

    def _check(self, end: int) -> None:
        if end > self.limit:
            advice = "make or fetch it again, or unpack it yourself"
            raise DataError(f"{self.path}: it is damaged or unpacks to more than {self.limit:,} bytes; {advice}")

    def read(self, size: int) -> bytes:
        self._check(self._file.tell() + size if size >= 0 else self.limit + 1)
        return bytes(self._file.read(size))

    def seek(self, position: int) -> int:
        self._check(position)
        return int(self._file.seek(position))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()


def _check_end(archive: tarfile.TarFile) -> None:
    """Check that the archive is complete. `tarfile` does not notice if a tar was cut between two members."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise EOFError("its end is missing")
    while file.read(tarfile.RECORDSIZE):  # a compressed stream ends with its checksum
        pass


class Zip:
    """The files of a zip archive; each is checked against its CRC when it is read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._members, self.repeats = archive, dict[str, Any](), list[str]()
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            _refuse(str(archive.filename), member.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR))
            if "\\" in member.filename:
                problem = f"member {member.filename!r} has a backslash, where a zip has a slash between folders"
                raise DataError(f"{archive.filename}: {problem}; make the archive again with another program")
            if not member.is_dir():
                _add(self._members, member.filename, member, str(archive.filename))
        self.names = list(self._members)

    def doubles(self, names: Iterable[str]) -> set[str]:
        """An archive with links is refused."""
        return set()

    def read(self, name: str) -> bytes:
        """The content of one file."""
        subject = f"{self._archive.filename}: {name}"
        with explained(subject, ADVICE, Exception):
            if self._members[name].flag_bits & 1:
                advice = "unpack it yourself, or make or fetch it again without a password"
                raise DataError(f"{subject}: encrypted with a password; {advice}")
            refuse_size(subject, self._members[name].file_size)
            packing = self._members[name].compress_type
            size = PIECE if packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else SMALL_PIECE
            with self._archive.open(self._members[name]) as file:
                return limited(file, subject, size)


def _add(members: dict[str, Any], name: str, member: object, archive: str) -> None:
    """Add a member under its plain name. Of two with the same name only one could be read."""
    plain = str(PurePosixPath(name))
    if plain in members:
        raise DataError(f"{archive}: two members have the name {plain!r}; make the archive again with each file once")
    members[plain] = member


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
    with explained(path, "correct the path", OSError, ValueError):
        if not path.exists():
            raise DataError(f"{path}: no such folder or archive; correct the path")
        is_folder = path.is_dir()
        if not is_folder:
            refuse_kind(path, path.stat().st_mode)
    if is_folder:
        yield Folder(path)
        return
    with ExitStack() as opened:
        with explained(path, ADVICE, Exception):
            files = _opened(path, opened)
        yield files


def _opened(path: Path, opened: ExitStack) -> Zip | Tar:
    """The archive at a path. A tar may end with a zip and would then pass for one, so its own mark is looked for."""
    with open(path, "rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    opener = next((opener for start, opener in OPENERS.items() if head.startswith(start)), open)
    if opener is open and head[257:262] != b"ustar" and zipfile.is_zipfile(path):
        return Zip(opened.enter_context(zipfile.ZipFile(path)))
    unpacked: Any = opened.enter_context(closing(_Unpacked(path, opener)))
    return Tar(opened.enter_context(tarfile.TarFile(path, fileobj=unpacked)))


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
