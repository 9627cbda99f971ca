"""A Snakemake that is at work in a folder is seen; one elsewhere, and what it runs, is not."""

import os
import subprocess
import sys

import pytest

from boundcheck.jobs.running_snakemakes import FILE, running_snakemakes

# A process at work in its folder, with a job that lives on when it ends.
PROGRAM = """
import pathlib, subprocess, sys, time
from boundcheck.jobs.running_snakemakes import register_snakemake
register_snakemake(pathlib.Path())
job = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(job.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start():
    jobs, processes = [], []

    def start(folder):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=folder, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        jobs.append(int(process.stdout.readline()))
        return process

    yield start
    for process, job in zip(processes, jobs, strict=True):
        process.kill()
        process.wait()
        process.stdout.close()
        os.kill(job, 9)


def test_one_here_is_seen_until_it_ends(start, tmp_path):
    assert running_snakemakes(tmp_path) == []
    process = start(tmp_path)
    assert running_snakemakes(tmp_path) == [process.pid]
    process.kill()
    process.wait()
    assert running_snakemakes(tmp_path) == []


def test_one_elsewhere_is_not(start, tmp_path):
    (tmp_path / "other").mkdir()
    start(tmp_path / "other")
    assert running_snakemakes(tmp_path) == []


def test_one_that_ended_before_the_other_is_not_told_of_after_both(start, tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    assert running_snakemakes(tmp_path) == [first.pid, second.pid]
    first.kill()
    first.wait()
    assert second.pid in running_snakemakes(tmp_path)
    second.kill()
    second.wait()
    third = start(tmp_path)
    assert running_snakemakes(tmp_path) == [third.pid]
    assert (tmp_path / FILE).read_text() == f"{third.pid}\n"


def test_the_command_fails_meanwhile(start, tmp_path):
    command = [sys.executable, "-m", "boundcheck", "idle"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0
    process = start(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"process {process.pid}" in done.stderr
