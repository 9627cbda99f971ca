"""Is a Snakemake at work in a folder? Asked before its lock is taken away."""

from __future__ import annotations

import os
from pathlib import Path

PROCESSES = Path("/proc")


def snakemakes_at_work(folder: Path) -> list[int]:
    """Process numbers of the Snakemakes of this machine that run in `folder`, but those that this process runs under.

    One on another machine, which shares the folder, is not seen, nor that of another user.
    """
    found = []
    above = _ancestors(os.getpid())
    for process in PROCESSES.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            is_here = (process / "cwd").resolve() == folder.resolve()
        except OSError:  # it ended, or is another user's
            continue
        is_snakemake = any(Path(os.fsdecode(word)).name == "snakemake" for word in words[:5])
        if is_here and is_snakemake and int(process.name) not in above:
            found.append(int(process.name))
    return sorted(found)


def _ancestors(process: int) -> set[int]:
    found: set[int] = set()
    while process > 1 and process not in found:
        found.add(process)
        try:
            status = (PROCESSES / str(process) / "status").read_text(encoding="utf-8")
        except OSError:
            break
        process = int(status.partition("PPid:")[2].split()[0])
    return found
