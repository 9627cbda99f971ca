"""When a training must stop and leave its state: it was told to, or nobody waits for it any more."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT came meanwhile, or what started this process is gone: Snakemake or its fork server.

    Without the latter, a training whose Snakemake is gone would go on beside the one that the next Snakemake starts.
    Only a main thread is told of signals.
    """
    asked: list[int] = []
    old = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            old[number] = signal.signal(number, lambda received, _: asked.append(received))
    parent = os.getppid()
    is_job = _starts_jobs(parent)
    try:
        yield lambda: bool(asked) or (is_job and os.getppid() != parent)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _starts_jobs(process: int) -> bool:
    """Whether it is a Snakemake, or a server that forks jobs for one and ends with it."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return any(name in words for name in (b"snakemake", b"boundcheck.jobs.fork_server"))
