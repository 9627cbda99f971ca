"""The state file of a job says whether it runs, how far it is, and how it ended, also where it could not say so."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from boundcheck.jobs import job_state
from boundcheck.jobs.command_line import main
from boundcheck.jobs.job_state import StateFile, read_state, state_path, tell_never_began


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs/train/a.log.json"


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_it_stands_beside_the_log(path):
    assert state_path(path.with_name("a.log")) == path


def test_a_running_job_says_where_it_is(path):
    state = StateFile(path)
    assert read_state(path)[:3] == ("running", "", None)
    state.write_progress(2.5, 10, 31.4)
    assert read_state(path) == ("running", "", 2.5, 10, 31.4, "")
    content = json.loads(path.read_text())
    assert content["process"] == os.getpid()
    assert content["start"] <= content["heartbeat"] <= time.time()


@pytest.mark.parametrize(("code", "word"), [(0, "done"), (75, "stopped"), (1, "failed"), (130, "failed")])
def test_the_end_is_told(path, code, word):
    StateFile(path).write(end=time.time(), exit=code, message="why")
    assert read_state(path)[:2] == (word, "why")


def test_the_heart_beats_while_the_job_runs(path, monkeypatch):
    monkeypatch.setattr(job_state, "HEARTBEAT", 0.01)
    state = StateFile(path)
    began = json.loads(path.read_text())["heartbeat"]
    with state.beating():
        while json.loads(path.read_text())["heartbeat"] == began:
            time.sleep(0.01)
    path.unlink()
    time.sleep(0.05)
    assert not path.exists()


def test_a_killed_job_and_another_process_with_its_number_are_told_apart(path):
    code = "import pathlib, sys, time; from boundcheck.jobs.job_state import StateFile\n"
    code += "StateFile(pathlib.Path(sys.argv[1])); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert read_state(path).word == "running"
        process.kill()
        deadline = time.monotonic() + 60
        while read_state(path).word == "running":  # until the kernel has ended it; a zombie runs no more
            assert time.monotonic() < deadline
        assert read_state(path).word == "killed"
    change(path, process=os.getpid())  # the number was given to another process
    assert read_state(path).word == "killed"


def test_after_a_restart_of_the_machine_nothing_runs(path, tmp_path, monkeypatch):
    StateFile(path)
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(job_state, "BOOT", boot)
    assert read_state(path).word == "killed"


@pytest.mark.parametrize(("seconds", "word"), [(0, "running"), (200, "running"), (400, "killed"), (90_000, "killed")])
@pytest.mark.parametrize("why", ["another host", "no list of processes"])
def test_of_a_job_that_cannot_be_asked_its_heartbeat_decides(path, tmp_path, monkeypatch, seconds, word, why):
    StateFile(path)
    change(path, heartbeat=time.time() - seconds)
    if why == "another host":
        change(path, host="another")
    else:
        monkeypatch.setattr(job_state, "PROCESSES", tmp_path / "no_proc")
    state = read_state(path)
    assert state.word == word
    assert state.where.startswith(" on ")
    assert state.where.endswith(" ago")


@pytest.mark.parametrize(("seconds", "words"), [(90, "90 s"), (600, "10 min"), (3 * 3600, "3 h")])
def test_durations_have_the_largest_unit_that_fits(seconds, words):
    assert job_state.duration(seconds) == words


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"end": 1}',
        '{"host": 1, "heartbeat": "x"}',
        "\0",
        '{"epochs": Infinity}',
        "[" * 10**5,
    ],
)
def test_a_damaged_file_counts_as_absent(path, content):
    assert read_state(path) is None
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert read_state(path) is None
    StateFile(path)
    assert read_state(path).word == "running"


def test_a_job_that_never_began_has_failed(path):
    log = path.with_name("a.log")
    tell_never_began(log, since=time.time())
    assert read_state(path).word == "failed"
    assert "never began" in read_state(path).message
    began = time.time()
    StateFile(path).write(end=time.time(), exit=1, message="its own words")
    tell_never_began(log, since=began)  # it began in this run and says more
    assert read_state(path).message == "its own words"
    tell_never_began(log, since=time.time() + 1)  # its state is of an earlier run
    assert "never began" in read_state(path).message


def test_a_full_disk_ends_no_job(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder belongs")
    StateFile(tmp_path / "logs/a.json").write_progress(1, 2, None)


def run_job(path, monkeypatch, error):
    def job(_):
        raise error

    monkeypatch.setattr("boundcheck.jobs.command_line._check", job)
    return main(["check", "--spec", "spec.json", "--results", "results", "--state", str(path)])


def test_the_message_of_an_error_is_its_last_line(path, monkeypatch, capsys):
    assert run_job(path, monkeypatch, OSError(28, "No space left on device", "results/x")) == 1
    state = read_state(path)
    assert state.word == "failed"
    assert state.message == capsys.readouterr().err.splitlines()[-1]
    assert state.message == "boundcheck check: OSError: [Errno 28] No space left on device: 'results/x'"


def test_an_interrupted_job_says_so_in_one_line(path, monkeypatch, capsys):
    assert run_job(path, monkeypatch, KeyboardInterrupt()) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "boundcheck check: interrupted; the same command starts it again\n"
    assert read_state(path)[:2] == ("failed", "boundcheck check: interrupted; the same command starts it again")


def test_a_real_job_writes_its_state(path, spec_file, tmp_path):
    spec = spec_file({"kind": "digits"})
    arrays = tmp_path / "data/digits/arrays.safetensors"
    assert main(["fetch", "--spec", spec, "--output", str(arrays), "--state", str(path)]) == 0
    assert read_state(path).word == "done"
