"""A Snakemake that is at work in a folder is seen; one elsewhere, and what it runs, is not."""

import os
import subprocess
import sys

import pytest

from boundcheck.jobs.running_snakemakes import snakemakes_at_work

PROGRAM = "import sys, time; print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/snakemake").write_text(PROGRAM)
    processes = []

    def start(folder):
        command = [sys.executable, str(tmp_path / "bin/snakemake")]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_one_here_is_seen_until_it_ends(start, tmp_path):
    assert snakemakes_at_work(tmp_path) == []
    process = start(tmp_path)
    assert snakemakes_at_work(tmp_path) == [process.pid]
    process.kill()
    process.wait()
    assert snakemakes_at_work(tmp_path) == []


def test_one_elsewhere_is_not(start, tmp_path):
    (tmp_path / "other").mkdir()
    start(tmp_path / "other")
    assert snakemakes_at_work(tmp_path) == []


def test_the_command_fails_meanwhile(start, tmp_path):
    command = [sys.executable, "-m", "boundcheck", "idle"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0
    process = start(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"process {process.pid}" in done.stderr
