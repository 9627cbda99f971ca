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
    assert late.line()[0] == "waited"
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


@pytest.fixture
def lease(monkeypatch, tmp_path):
    """Take and release a lease among two GPUs, with the files of the locks in an empty folder."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def lease():
        with leased_gpu() as gpu:
            return gpu

    return lease


def foreign(path, monkeypatch):
    """A folder that belongs to another user."""
    path.mkdir(mode=0o700)
    own, fstat = os.stat_result, os.fstat

    def of_another(descriptor):
        status = list(fstat(descriptor))
        same = os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
        return own([*status[:4], status[4] + same, *status[5:]])

    monkeypatch.setattr(os, "fstat", of_another)


def open_to_all(path, monkeypatch):
    path.mkdir()
    path.chmod(0o777)


def link(path, monkeypatch):
    """To a folder of this user, which would do."""
    (path.parent / "elsewhere").mkdir(mode=0o700)
    path.symlink_to(path.parent / "elsewhere")


IN_THE_WAY = {
    "of another user": foreign,
    "open to all": open_to_all,
    "a link": link,
    "a file": lambda path, _: path.touch(),
    "a link to nothing": lambda path, _: path.symlink_to("nowhere"),
}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks /proc which folder is open")
@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_others_put_into_the_shared_folder_neither_blocks_nor_redirects(lease, tmp_path, monkeypatch, what):
    name = f"boundcheck-gpus-{os.getuid()}"
    IN_THE_WAY[what](tmp_path / name, monkeypatch)
    assert lease() == "4"
    assert [path.name for path in tmp_path.glob("**/*.lock")] == ["4.lock"]
    assert (tmp_path / f"{name}-2/4.lock").exists()
    assert lease() == "4"
    assert not (tmp_path / f"{name}-3").exists()


def test_the_files_are_open_to_this_user_alone(lease, tmp_path):
    lease()
    (lock,) = tmp_path.glob("*/*.lock")
    assert (lock.parent.stat().st_mode & 0o777, lock.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_link_in_the_place_of_a_lock_is_not_followed(lease, tmp_path):
    lease()
    (lock,) = tmp_path.glob("*/*.lock")
    (tmp_path / "precious").write_text("content")
    lock.unlink()
    lock.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"4\.lock"):
        lease()
    assert (tmp_path / "precious").read_text() == "content"


def test_where_every_name_is_taken_it_is_said(lease, tmp_path):
    name = f"boundcheck-gpus-{os.getuid()}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        (tmp_path / f"{name}{suffix}").touch()
    with pytest.raises(OSError, match=f"{name}: not a folder that only this user can write to; remove it, or set TMP"):
        lease()


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
