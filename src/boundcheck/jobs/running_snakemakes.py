"""One Snakemake at a time runs jobs in a folder. Others may plan there: dry runs, reports, lists.

Snakemake's own lock holds for equal outputs only, and stays when Snakemake is killed. A Snakemake that runs jobs also
locks a file here, in which its process, host and temporary folder stand. The operating system releases this lock when
the process ends, even if it was killed. Other users, containers and machines that share the folder also see the lock,
if the file system supports it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from boundcheck.planning.cache import FOLDER, make_way

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

FILE = FOLDER / "running_snakemake"
LOCKS = Path(".snakemake/locks")  # Snakemake's own
_kept: list[int] = []  # keeps the file open, and so the lock, until this process ends


class FolderInUse(Exception):
    """Another Snakemake runs jobs in the folder. The message is one line that names it."""


def hold_folder(folder: Path, temporary: Path) -> None:
    """Lock `folder` for this process until it ends. Without file locks on the file system, nothing is locked.

    Args:
        folder: where Snakemake runs.
        temporary: Snakemake's temporary folder, which the next Snakemake here deletes if this one is killed.

    Raises:
        FolderInUse: another process has locked it.
    """
    with contextlib.suppress(OSError):
        make_way(folder / FILE)
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderInUse(in_use(_content(folder)[0])) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n{temporary}\n".encode())
        _kept.append(descriptor)


def running_snakemake(folder: Path) -> str | None:
    """The Snakemake that runs jobs in `folder`, as "process 12 on host"; None if there is none.

    Raises:
        OSError: the file system does not support locks.
    """
    try:
        descriptor = os.open(folder / FILE, os.O_RDWR)
    except (FileNotFoundError, IsADirectoryError):
        return None
    try:
        _lock(descriptor)
    except BlockingIOError:
        return _content(folder)[0]
    finally:
        os.close(descriptor)
    return None


def forget_killed_snakemake(folder: Path) -> None:
    """Remove what a killed Snakemake left: its temporary folder, and the locks that would refuse the same command.

    Both stay if a Snakemake runs jobs here, or if the last one ran on another machine: whether the file system passes
    locks between machines cannot be known. Then a line on standard error names it.
    """
    with contextlib.suppress(OSError):
        if running := running_snakemake(folder):
            print(in_use(running), file=sys.stderr)
            return
        last, temporary = _content(folder) if (folder / FILE).is_file() else ("", Path())
        if last.partition(" on ")[2] in ("", socket.gethostname()):
            if _is_own_temporary(temporary):
                shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(folder / LOCKS, ignore_errors=True)
        elif (folder / LOCKS).exists() and any((folder / LOCKS).iterdir()):
            print(f"the last Snakemake here was {last}; if it has ended: make resume", file=sys.stderr)


def in_use(running: str) -> str:
    """The line that says which Snakemake runs in the folder."""
    return f"a Snakemake is running in this folder ({running}); wait for it or stop it"


def _lock(descriptor: int) -> None:
    if fcntl is None:
        raise OSError("this system has no file locks")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _content(folder: Path) -> tuple[str, Path]:
    """The process in the file, "process unknown" if the file is damaged; and its temporary folder."""
    lines = [*(folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines(), "", ""]
    return lines[0] if re.fullmatch(r"process \d+ on \S+", lines[0]) else "process unknown", Path(lines[1])


def _is_own_temporary(path: Path) -> bool:
    """Whether a path is a temporary folder that a Snakemake of this user made, and so may be deleted."""
    is_named_so = path.parent == Path(tempfile.gettempdir()) and re.fullmatch(r"snakemake\w+", path.name) is not None
    return is_named_so and not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.getuid()
