"""A Snakemake that runs jobs in a folder is seen there; one elsewhere, and what it runs, is not."""

import os
import socket
import subprocess
import sys

import pytest

from boundcheck.jobs import running_snakemakes
from boundcheck.jobs.running_snakemakes import (
    FILE,
    LOCKS,
    FolderInUse,
    forget_killed_snakemake,
    hold_folder,
    running_snakemake,
)

# A process at work in its folder, with a job that lives on when it ends.
PROGRAM = """
import pathlib, subprocess, sys, time
from boundcheck.jobs.running_snakemakes import hold_folder
hold_folder(pathlib.Path(), pathlib.Path(*sys.argv[1:]))
job = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(job.pid, flush=True)
time.sleep(60)
"""
HOST = socket.gethostname()


@pytest.fixture
def start():
    jobs, processes = [], []

    def start(folder, temporary=""):
        command = [sys.executable, "-c", PROGRAM, str(temporary)]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        jobs.append(int(process.stdout.readline()))
        return process

    yield start
    for process, job in zip(processes, jobs, strict=True):
        process.kill()
        process.wait()
        process.stdout.close()
        os.kill(job, 9)


@pytest.fixture
def locks(tmp_path):
    """The locks that Snakemake has while it runs, and leaves when it is killed."""
    (tmp_path / LOCKS).mkdir(parents=True)
    (tmp_path / LOCKS / "0.output.lock").write_text("results\n")
    return tmp_path / LOCKS


def kill(process):
    process.kill()
    process.wait()


def test_one_here_is_seen_until_it_ends(start, tmp_path):
    assert running_snakemake(tmp_path) is None
    process = start(tmp_path)
    assert running_snakemake(tmp_path) == f"process {process.pid} on {HOST}"
    kill(process)
    assert running_snakemake(tmp_path) is None


def test_one_elsewhere_is_not(start, tmp_path):
    (tmp_path / "other").mkdir()
    start(tmp_path / "other")
    assert running_snakemake(tmp_path) is None


def test_a_second_one_is_refused_and_told_of_the_first(start, tmp_path):
    first = start(tmp_path)
    with pytest.raises(FolderInUse, match=rf"\(process {first.pid} on {HOST}\); wait for it or stop it$"):
        hold_folder(tmp_path, tmp_path)
    assert running_snakemake(tmp_path) == f"process {first.pid} on {HOST}"
    kill(first)
    second = start(tmp_path)
    assert running_snakemake(tmp_path) == f"process {second.pid} on {HOST}"


def test_the_command_fails_meanwhile(start, tmp_path):
    command = [sys.executable, "-m", "boundcheck", "idle"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0
    process = start(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"process {process.pid}" in done.stderr


def test_the_locks_of_a_killed_snakemake_go(start, locks, tmp_path, capsys):
    process = start(tmp_path)
    forget_killed_snakemake(tmp_path)
    assert list(locks.iterdir())
    assert f"process {process.pid} on {HOST}" in capsys.readouterr().err
    kill(process)
    forget_killed_snakemake(tmp_path)
    assert not locks.exists()
    assert capsys.readouterr().err == ""


def test_the_locks_of_another_machine_stay_and_are_explained(locks, tmp_path, capsys):
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text("process 12 on another\n")
    forget_killed_snakemake(tmp_path)
    assert list(locks.iterdir())
    said = capsys.readouterr().err
    assert said == "the last Snakemake here was process 12 on another; if it has ended: make resume\n"


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b"12\n13\n", "a folder"])
def test_a_damaged_file_counts_as_absent(content, locks, tmp_path):
    if content == "a folder":
        (tmp_path / FILE / "inside").mkdir(parents=True)
    elif content is not None:
        (tmp_path / FILE).parent.mkdir(parents=True)
        (tmp_path / FILE).write_bytes(content)
    assert running_snakemake(tmp_path) is None
    forget_killed_snakemake(tmp_path)
    assert not locks.exists()
    hold_folder(tmp_path, tmp_path)
    assert running_snakemake(tmp_path) == f"process {os.getpid()} on {HOST}"
    os.close(running_snakemakes._kept.pop())


def test_without_file_locks_nothing_is_held_or_removed(locks, tmp_path, monkeypatch):
    monkeypatch.setattr(running_snakemakes, "fcntl", None)
    hold_folder(tmp_path, tmp_path)
    forget_killed_snakemake(tmp_path)
    assert list(locks.iterdir())
    with pytest.raises(OSError, match="no file locks"):
        running_snakemake(tmp_path)


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


def test_the_temporary_folder_of_a_killed_snakemake_goes(start, shared, tmp_path):
    temporary = shared / "snakemakeab12_x"
    (temporary / "source-cache").mkdir(parents=True)
    process = start(tmp_path, temporary)
    forget_killed_snakemake(tmp_path)
    assert temporary.exists()
    kill(process)
    forget_killed_snakemake(tmp_path)
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["shared/other", "snakemake12", "shared/snakemake1/inside", "shared/snakemake_link", ""]
)
def test_no_other_folder_goes(start, shared, tmp_path, name):
    (tmp_path / "precious").mkdir()
    (shared / "snakemake_link").symlink_to(tmp_path / "precious")
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    kill(start(tmp_path, tmp_path / name))
    forget_killed_snakemake(tmp_path)
    assert (tmp_path / name).exists()
    assert (tmp_path / "precious").exists()
