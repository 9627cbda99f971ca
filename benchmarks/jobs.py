"""The test scale with jobs that share their imports, and with jobs in processes of their own: wall seconds of each.

    python benchmarks/jobs.py [--rounds 3]

Rounds are interleaved; each is a whole `snakemake --cores 2` in an empty copy of the project. Nothing else should run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from boundcheck.jobs.forked_job import SERVER

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ["-m", "snakemake", "--cores", "2", "--configfile", "config/test.yaml", "--quiet", "all"]


def wall_seconds(is_forked: bool) -> float:
    """One run of the test scale from nothing, seconds."""
    environment = {name: value for name, value in os.environ.items() if name != SERVER}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("config", "workflow", "src", "envs"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "Snakefile", folder)
        environment["PYTHONPATH"] = str(folder / "src")
        if not is_forked:
            environment[SERVER] = ""
        start = time.perf_counter()
        subprocess.run([sys.executable, *COMMAND], cwd=folder, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(prog="jobs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    rounds = parser.parse_args().rounds
    pairs = [(wall_seconds(True), wall_seconds(False)) for _ in range(rounds)]
    forked, own = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(
        f"test scale: {forked:.0f} s forked, {own:.0f} s in processes of their own; ratio {ratio:.2f} ({rounds} rounds)"
    )


if __name__ == "__main__":
    main()
