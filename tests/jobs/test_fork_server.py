"""A job in a fork behaves as one in its own process: output, exit code, folder, environment, signals and death."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boundcheck.jobs import fork_server

ROOT = Path(__file__).resolve().parents[2]


def has_pidfd():
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


pytestmark = pytest.mark.skipif(not has_pidfd(), reason="the server needs Linux 5.3 or newer")

HOLDER = """
import os, pathlib, sys
from boundcheck.jobs import fork_server
fork_server.start_fork_server(["heavy"], pathlib.Path("server.log"))
print(os.environ[fork_server.SERVER], fork_server._kept[0].pid, flush=True)
sys.stdin.read()
"""
# A job that takes long to install its handlers of signals.
SLOW_HANDLERS = """
import os, signal, time

def slow(*arguments, install=signal.signal):
    time.sleep(0.2)
    return install(*arguments)

if "SLOW_HANDLERS" in os.environ:
    signal.signal = slow
"""
# A package with this module and a command line that tells where it runs.
COMMAND_LINE = """
import os, signal, sys, time

def main(words):
    if words[0] == "tell":
        print(os.getcwd(), os.environ["COLOUR"], "heavy" in sys.modules, os.getppid(), "first edition")
        print("to standard error", file=sys.stderr)
        return int(words[1])
    if words[0] == "leave":
        sys.exit(2)
    if words[0] == "say":
        sys.exit("a message")
    if words[0] == "break":
        raise BaseException("a defect")
    if words[0] == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if words[0] == "share" and not os.fork():
        time.sleep(30)
        os._exit(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
    print(os.getpid(), flush=True)
    time.sleep(100)
"""


@pytest.fixture
def package(tmp_path):
    """The folder of the sources of a small package with a fork server."""
    sources = tmp_path / "src"
    for folder in ("jobs", "training", "planning"):
        (sources / "boundcheck" / folder).mkdir(parents=True)
    for name in ("__init__.py", "jobs/__init__.py", "training/__init__.py", "planning/__init__.py"):
        (sources / "boundcheck" / name).touch()
    jobs = ("jobs/fork_server", "jobs/forked_job", "jobs/imports")
    for name in (*jobs, "training/stopping", "planning/cache", "atomic_files", "__main__"):
        shutil.copy(ROOT / f"src/boundcheck/{name}.py", sources / f"boundcheck/{name}.py")
    (sources / "boundcheck/jobs/command_line.py").write_text(COMMAND_LINE)
    (sources / "boundcheck/jobs/compiler.py").write_text("def skip_compiler(): pass")
    (sources / "heavy.py").touch()
    (sources / "sitecustomize.py").write_text(SLOW_HANDLERS)
    return sources


class Served:
    """A process that started a server, and the jobs that it would start."""

    def __init__(self, package):
        self.package = package
        self.environment = {**os.environ, "PYTHONPATH": str(package), "COLOUR": "red", "OMP_NUM_THREADS": "1"}
        self.environment.pop(fork_server.SERVER, None)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", HOLDER]
        self.holder = subprocess.Popen(command, cwd=package.parent, env=self.environment, **pipes)
        self.environment[fork_server.SERVER], server = self.holder.stdout.readline().split()
        self.process = int(server)
        # a job's first place to look for modules is its folder, as the server's; `-c` gives the holder's another name
        self.job = [sys.executable, "-m", "boundcheck"]

    def run(self, *words, **changes):
        environment = {**self.environment, **changes}
        options = {"cwd": self.package.parent, "env": environment, "capture_output": True, "text": True}
        return subprocess.run([*self.job, *words], **options, check=False, timeout=60)

    def start(self, *words, **changes):
        environment = {**self.environment, **changes}
        options = {"cwd": self.package.parent, "env": environment, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([*self.job, *words], **options)

    def was_forked(self, done):
        """Whether a job that told was a fork: it has what only the server imports."""
        return done.stdout.split()[2] == "True"


@pytest.fixture
def served(package):
    server = Served(package)
    yield server
    server.holder.kill()
    server.holder.communicate()


def wait_until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state_of(process):
    """R, S, T, Z ...; none where it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def lives(process):
    """Whether a process does anything still; one that nobody has waited for yet does not."""
    return state_of(process) not in ("", "Z")


def handles(process, number):
    """Whether a process has a handler for a signal."""
    mask = Path(f"/proc/{process}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_fork_is_given_folder_environment_output_and_exit_code(served):
    done = served.run("tell", "3", COLOUR="blue")
    folder, colour, has_imports, parent, *_ = done.stdout.split()
    assert [folder, colour, has_imports] == [str(served.package.parent), "blue", "True"]
    assert int(parent) != os.getpid()
    assert (done.returncode, done.stderr) == (3, "to standard error\n")
    assert served.run("leave").returncode == 2


def test_what_ends_a_job_is_told(served):
    said = served.run("say")
    assert (said.returncode, said.stderr) == (1, "a message\n")
    broken = served.run("break")
    assert broken.returncode == 1
    assert "BaseException: a defect" in broken.stderr
    crashed = served.run("crash")
    assert crashed.returncode == 128 + signal.SIGSEGV
    assert crashed.stderr == "boundcheck: the job was ended by SIGSEGV\n"


def test_a_child_of_a_dead_fork_keeps_nobody_waiting(served):
    job = served.start("share")
    os.kill(int(job.stdout.readline()), signal.SIGKILL)
    assert job.wait(timeout=10) == 128 + signal.SIGKILL
    job.stdout.close()


def test_a_server_that_cannot_import_says_why_and_holds_nobody_up(package):
    (package / "heavy.py").write_text("import no_such_module")
    server = Served(package)
    try:
        assert not server.was_forked(server.run("tell", "0"))
        assert "No module named 'no_such_module'" in (package.parent / "server.log").read_text()
    finally:
        server.holder.kill()
        server.holder.communicate()


def test_jobs_that_ask_at_once_are_all_answered(served):
    jobs = [served.start("tell", str(number)) for number in range(8)]
    assert [job.wait(timeout=60) for job in jobs] == list(range(8))
    for job in jobs:
        job.communicate()


@pytest.mark.parametrize("change", ["edited", "new module", "other modules", "threads", "no server", "dead server"])
def test_what_cannot_be_forked_runs_in_its_own_process(served, change, tmp_path):
    assert served.was_forked(served.run("tell", "0"))
    changes = {}
    if change == "edited":
        command_line = served.package / "boundcheck/jobs/command_line.py"
        command_line.write_text(COMMAND_LINE.replace("first edition", "second edition"))
    elif change == "new module":
        (served.package / "boundcheck/added.py").touch()
    elif change == "other modules":
        changes["PYTHONPATH"] = os.pathsep.join([str(served.package), str(tmp_path)])
    elif change == "threads":
        changes["OMP_NUM_THREADS"] = "2"
    elif change == "no server":
        changes[fork_server.SERVER] = ""
    else:
        served.holder.kill()
        wait_until(lambda: not lives(served.process))
    done = served.run("tell", "4", **changes)
    assert done.returncode == 4
    assert not served.was_forked(done)
    assert ("second edition" in done.stdout) == (change == "edited")


def test_a_request_to_stop_reaches_the_fork(served):
    job = served.start("wait")
    fork = int(job.stdout.readline())
    assert fork != job.pid
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=20) == 75
    wait_until(lambda: not lives(fork))
    job.communicate()


def test_a_request_that_comes_before_the_handlers_reaches_the_fork(served):
    """The fork may be at work before its job can pass signals on: none of them is lost, and none ends the job alone."""
    job = served.start("wait", SLOW_HANDLERS="")
    fork = int(job.stdout.readline())
    assert not handles(job.pid, signal.SIGTERM)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=20) == 75
    wait_until(lambda: not lives(fork))
    job.communicate()


def test_a_fork_dies_with_its_job_and_a_job_tells_of_its_forks_death(served):
    job = served.start("wait")
    fork = int(job.stdout.readline())
    job.kill()
    wait_until(lambda: not lives(fork))
    job.communicate()
    job = served.start("wait")
    os.kill(int(job.stdout.readline()), signal.SIGKILL)
    assert job.wait(timeout=20) == 128 + signal.SIGKILL
    job.communicate()


def test_a_server_ends_with_its_snakemake(served):
    job = served.start("wait")
    fork = int(job.stdout.readline())
    served.holder.kill()
    wait_until(lambda: not lives(served.process))
    assert lives(fork)  # a training notices by itself; other jobs go on, as without a server
    job.kill()
    wait_until(lambda: not lives(fork))
    job.communicate()


def test_a_job_goes_on_when_the_server_is_killed(served):
    """Its fork tells the exit code itself, and the next job runs as its own process."""
    job = served.start("wait")
    fork = int(job.stdout.readline())
    os.kill(served.process, signal.SIGKILL)
    wait_until(lambda: not lives(served.process))
    assert lives(fork)
    assert job.poll() is None
    os.kill(fork, signal.SIGUSR1)
    assert job.wait(timeout=20) == 3
    job.communicate()
    assert not served.was_forked(served.run("tell", "0"))


# Starts a job as Snakemake does, says its process, and waits.
SNAKEMAKE = """
import os, subprocess, sys, time
os.environ["BOUNDCHECK_STARTER"] = str(os.getpid())
job = subprocess.Popen([sys.executable, "-m", "boundcheck", "wait"], stdout=subprocess.PIPE, text=True)
print(job.pid, job.stdout.readline(), flush=True)
time.sleep(60)
"""


def test_a_fork_is_asked_to_stop_when_its_snakemake_was_killed(served):
    options = {"cwd": served.package.parent, "env": served.environment, "stdout": subprocess.PIPE, "text": True}
    snakemake = subprocess.Popen([sys.executable, "-c", SNAKEMAKE], **options)
    job, fork = map(int, snakemake.stdout.readline().split())
    assert state_of(fork) != ""
    snakemake.kill()
    wait_until(lambda: not lives(fork) and not lives(job))  # the server lives: the fork had SIGTERM
    assert lives(served.process)
    snakemake.communicate()


def test_a_folder_in_the_place_of_the_log_goes(package):
    (package.parent / "server.log/inside").mkdir(parents=True)
    server = Served(package)
    try:
        assert server.was_forked(server.run("tell", "0"))
    finally:
        server.holder.kill()
        server.holder.communicate()
