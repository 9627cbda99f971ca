"""One GPU per job where several are visible. The GPUs are names only: nothing here needs one."""

import os
import subprocess
import sys

import pytest

from boundcheck.jobs.devices import leased_gpu

HOLD = """
import os, sys
from boundcheck.jobs.devices import leased_gpu
with leased_gpu(poll_seconds=0.05) as gpu:
    print("holds", gpu, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


class Job:
    """A process that holds its lease until it is told to end."""

    def __init__(self, environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, text=True, **pipes)

    def line(self):
        return self.process.stdout.readline().split()

    def gpu(self):
        """The GPU that it holds, which is the only one that it sees."""
        while (words := self.line())[0] != "holds":
            assert words[0] == "GPU"  # and not "waiting"
        assert words[1] == words[2]
        return words[1]

    def end(self, kill=False):
        if kill:
            self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def start(tmp_path):
    jobs = []

    def start_job(gpus):
        jobs.append(Job({**os.environ, "CUDA_VISIBLE_DEVICES": gpus, "TMPDIR": str(tmp_path)}))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.end(kill=True)


def test_no_gpu_is_leased_twice(start):
    gpus = ["0", "3", "GPU-8a1b/0/1"]
    assert {start(",".join(gpus)).gpu() for _ in gpus} == set(gpus)


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_who_comes_late_waits_for_the_first_that_is_free(start, kill):
    jobs = [start("0,1,2") for _ in range(3)]
    held = {job.gpu(): job for job in jobs}
    late = start("0,1,2")
    assert late.line()[:2] == ["waiting", "for"]
    held["1"].end(kill)
    assert late.gpu() == "1"


def test_one_visible_gpu_is_not_locked(start):
    """A cluster has chosen it, and jobs may share it on purpose."""
    assert [start("2").gpu() for _ in range(2)] == ["2", "2"]


def test_none_is_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with leased_gpu() as gpu:
        assert gpu is None
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_the_environment_is_restored(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with leased_gpu() as gpu:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu == "4"
        assert num_locks(tmp_path) == 1
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4, 5"


def num_locks(folder):
    return len(list(folder.glob("boundcheck-gpus-*/*.lock")))


@pytest.mark.slow
def test_jobs_of_the_profile_lease(start, project, tmp_path):
    """While another process holds GPU 0, both a training and a measurement take GPU 1."""
    assert start("0,1").gpu() == "0"
    project.config["studies"]["gam"]["grid"][0]["methods"] = ["sgd"]
    project.write_config("config/small.yaml", project.config)
    project.environment |= {"CUDA_VISIBLE_DEVICES": "0,1", "TMPDIR": str(tmp_path)}
    output = project.snakemake("--workflow-profile", "workflow/profiles/local-gpu", "--until", "measure_batch")
    assert "gpu=1" in output
    for stage in ("train", "measure"):
        log = project.folder / f"logs/{stage}/small/gam/tiny_digits/tiny_mlp/sgd/seeds_0-2.log"
        assert "GPU 1 of 0, 1" in log.read_text().splitlines()
