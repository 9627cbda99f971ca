"""When a training must stop and save its state: a signal asked for it, or the process that started it has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator


class TrainingInterrupted(Exception):
    """The job was asked to stop. Its state is on disk."""


STARTER = "BOUNDCHECK_STARTER"  # environment variable: the number of the process that starts the jobs


def stop_jobs_with_process(process: int) -> None:
    """Tell the trainings that inherit this environment to stop when `process`, their parent, has ended.

    Called by a Snakemake. A training that a user starts by hand may outlive its parent. To a fork of the server the
    server tells the end of its Snakemake.
    """
    os.environ[STARTER] = str(process)


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """A function that says whether to stop: SIGTERM or SIGINT came, or the Snakemake above has ended.

    Without the second condition, a training whose Snakemake was killed would go on beside the one that the next
    Snakemake starts. Signals are handled in the main thread only.
    """
    asked: list[int] = []
    old = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            old[number] = signal.signal(number, lambda received, _: asked.append(received))
    parent = os.getppid()
    is_job = os.environ.get(STARTER) == str(parent)
    try:
        yield lambda: bool(asked) or (is_job and os.getppid() != parent)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
