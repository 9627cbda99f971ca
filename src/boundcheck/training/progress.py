"""How far a training is: one small file beside its checkpoint, for `boundcheck status`. No torch."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from boundcheck.atomic_files import write_text

NAME = "progress.json"
PROCESSES = Path("/proc")


class Stopwatch:
    """Wall and CPU time of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        """Seconds since the last lap."""
        return time.perf_counter() - self._wall

    def lap(self) -> tuple[float, float]:
        """Wall and CPU seconds since the last lap, which ends here."""
        wall, cpu = self.wall, time.process_time() - self._cpu
        self._wall, self._cpu = self._wall + wall, self._cpu + cpu
        return wall, cpu


def write_progress(folder: Path, epoch: float, epochs: int, seconds_left: float | None) -> None:
    """Say in `folder` which process trains, and how far it is; `seconds_left` is None before the first epoch."""
    state: dict[str, Any] = {"epoch": epoch, "epochs": epochs, "seconds_left": seconds_left, "time": time.time()}
    state |= {"process": os.getpid(), "host": socket.gethostname()}
    write_text(json.dumps(state), folder / NAME)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """What `write_progress` wrote last, with `is_alive`: whether the process runs; None where that cannot be told.

    It can be told on the same host, where the system lists its processes in /proc (Linux).
    """
    try:
        state = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_listed = state["host"] == socket.gethostname() and PROCESSES.is_dir()
    state["is_alive"] = _is_alive(state["process"]) if is_listed else None
    return state


def _is_alive(process: int) -> bool:
    try:
        return b"boundcheck" in (PROCESSES / str(process) / "cmdline").read_bytes()
    except OSError:
        return False
