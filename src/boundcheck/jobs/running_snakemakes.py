"""Is a Snakemake running in a folder? `make resume` checks this before it removes Snakemake's own lock.

A running Snakemake holds a shared lock on a file. The operating system releases the lock when the process ends, even
if it was killed. Other users, containers and machines that share the folder also see the lock, if the file system
supports it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

FILE = Path(".snakemake/boundcheck/running_snakemakes")


def register_snakemake(folder: Path) -> None:
    """Register this process as a Snakemake that runs in `folder` until it ends. Its jobs are not registered."""
    path = folder / FILE
    with contextlib.suppress(OSError):  # a file system without locks: `running_snakemakes` says so
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)  # open until this process ends
        with contextlib.suppress(BlockingIOError):  # another one is running: keep its number
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.write(descriptor, f"{os.getpid()}\n".encode())


def running_snakemakes(folder: Path) -> list[int]:
    """Process numbers of the Snakemakes that started in `folder` since it was last idle; empty if none is running.

    Raises:
        OSError: the file system does not support locks.
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
