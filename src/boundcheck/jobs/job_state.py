"""The state file of a job, beside its log: which process runs it, how far it is, and how it ended. No torch.

A job writes it when it begins, every few seconds while it runs, and when it ends. `boundcheck status` reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from boundcheck.atomic_files import write_text

HEARTBEAT = 15.0  # seconds
SILENCE = 20 * HEARTBEAT  # after this a job that cannot be asked counts as dead
PROCESSES = Path("/proc")
BOOT = PROCESSES / "sys/kernel/random/boot_id"


class StateFile:
    """Writes the state file of this process's job."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        process = os.getpid()
        self._state: dict[str, Any] = {"host": socket.gethostname(), "process": process, "born": _birth(process)}
        self.write(start=time.time())

    def write(self, **changes: Any) -> None:
        """Write the state with some changes and the time. A disk that is full does not end the job."""
        with self._lock, contextlib.suppress(OSError):
            self._state |= {"heartbeat": time.time(), **changes}
            write_text(json.dumps(self._state), self._path)

    def write_progress(self, epoch: float, epochs: int, seconds_left: float | None) -> None:
        """Write how far a training is; `seconds_left` is None before the first epoch."""
        self.write(epoch=epoch, epochs=epochs, seconds_left=seconds_left)

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Write the state every few seconds in a thread."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT):
                self.write()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class JobState(NamedTuple):
    """What a state file says.

    Args:
        word: `running`; `stopped`: asked to stop, the same command goes on; `failed`; `killed`: it ended and could not
            say so; `done`.
        message: the last line of a job that failed or stopped.
        epoch: how far a training is; None for other jobs, and before the training begins.
        epochs: to where it goes.
        seconds_left: an estimate.
        where: for a job that cannot be asked, the host and when it was heard of, to follow other words.
    """

    word: str
    message: str = ""
    epoch: float | None = None
    epochs: int = 0
    seconds_left: float | None = None
    where: str = ""


STOPPED = 75  # EX_TEMPFAIL: the exit code of a training that was asked to stop; the same command continues it


def state_path(log: Path) -> Path:
    """The state file of the job with this log."""
    return log.with_name(f"{log.name}.json")


def read_state(path: Path) -> JobState | None:
    """What the last job with this state file is doing; None if there is no file or it is damaged."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        epoch, left = state.get("epoch"), state.get("seconds_left")
        progress = (
            None if epoch is None else float(epoch),
            int(state.get("epochs", 0)),
            None if left is None else float(left),
        )
        if "end" in state:
            word = {0: "done", STOPPED: "stopped"}.get(state["exit"], "failed")
            return JobState(word, str(state["message"]), *progress)
        silence = time.time() - state["heartbeat"]
        alive = _is_alive(state)
        where = "" if alive is not None else f" on {state['host']}, last heard of {duration(silence)} ago"
        is_running = silence < SILENCE if alive is None else alive
        return JobState("running" if is_running else "killed", "", *progress, where)
    except (OSError, ValueError, ArithmeticError, RecursionError, TypeError, KeyError, AttributeError):
        return None


def tell_never_began(log: Path, since: float) -> None:
    """Write that a job failed before it could say so itself, unless its state file was written since a time."""
    path = state_path(log)
    try:
        if json.loads(path.read_text(encoding="utf-8"))["heartbeat"] >= since:
            return
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        pass
    now, message = time.time(), "the job never began; its log and the output of Snakemake say why"
    state = {"host": socket.gethostname(), "heartbeat": now, "end": now, "exit": 1, "message": message}
    with contextlib.suppress(OSError):
        write_text(json.dumps(state), path)


def duration(seconds: float) -> str:
    """A duration in words, in the largest unit that gives at least two."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _is_alive(state: dict[str, Any]) -> bool | None:
    """Whether the process still runs; None if that cannot be told: another host, or a system without /proc."""
    if state["host"] != socket.gethostname() or not state["born"] or _birth(os.getpid()) is None:
        return None
    return _birth(state["process"]) == state["born"]


def _birth(process: int) -> str | None:
    """When a process began, so that another one with its number is told from it; None if it has ended."""
    try:
        status = (PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()
        return f"{BOOT.read_text().strip()} {status[19]}" if status[0] not in "ZX" else None
    except (OSError, IndexError):
        return None
