"""Is a Snakemake at work in a folder? `make resume` asks before it removes Snakemake's own lock.

A Snakemake holds a shared lock on a file for as long as it lives. The operating system releases the lock when the
process ends, however it ends, so nothing is left behind by one that was killed. Other users, containers and machines
that share the folder see the lock too, where the file system supports it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

FILE = Path(".snakemake/boundcheck/running_snakemakes")


def register_snakemake(folder: Path) -> None:
    """Say that this process, a Snakemake, is at work in `folder` until it ends. Jobs that it starts do not count."""
    path = folder / FILE
    with contextlib.suppress(OSError):  # a file system without locks: `snakemakes_at_work` says so
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)  # open until this process ends
        with contextlib.suppress(BlockingIOError):  # another one is at work: keep its number
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.write(descriptor, f"{os.getpid()}\n".encode())


def snakemakes_at_work(folder: Path) -> list[int]:
    """Process numbers of the Snakemakes that started in `folder` since it was last idle; empty if none is at work.

    Raises:
        OSError: the file system supports no locks.
    """
    try:
        file = (folder / FILE).open("r+")
    except FileNotFoundError:
        return []
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return [int(line) for line in file]
    return []
