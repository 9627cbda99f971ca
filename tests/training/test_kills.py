"""A training killed at any moment, then started again, ends with the files of one that was left alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("kills")  # one server

BASE = {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
ACCELERATED = {"radius": 0.02, "alpha": 0.5, "beta": 0.5, "gamma": 0.05}
METHODS = {  # what is on disk when; that each method resumes to the same bits: test_listed_kinds.py
    "adamw": {"kind": "adamw", "lr": 0.01},
    "gam_exact": {
        "kind": "gam",
        "form": "exact",
        "rho": 0.1,
        "alpha": 0.3,
        "rho_min": 0.05,
        "rho_warmup": 5,
        "base": BASE,
    },
    "gam_released": {"kind": "gam", "form": "accelerated_released", "rho": 0.2, **ACCELERATED, "base": BASE},
}
EVERYWHERE = ("gam_exact",)  # killed before every file operation; the others before a few
FILES = ["curves.parquet", "snapshots/epoch_0.safetensors", "snapshots/epoch_3.safetensors"]


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory):
    """Run a training in a child process; its exit code, and what it printed."""
    log = tmp_path_factory.mktemp("kills") / "log"
    command = [sys.executable, str(Path(__file__).with_name("kill_server.py"))]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):

        def run(spec, output, **how):
            start = log.stat().st_size
            job = {"spec": spec, "arrays": str(arrays), "output": str(output), **how}
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline()), log.read_text()[start:]

        yield run
        server.stdin.close()


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("method", METHODS)
def test_sigkill_at_any_moment(spec_of, run, tmp_path, method):
    spec = spec_of(method={"name": "m", **METHODS[method]}, seeds=[0, 1])
    assert run(spec, tmp_path / "whole")[0] == 0
    expected = contents(tmp_path / "whole")
    deadly, killed = 1, 0
    while True:
        output = tmp_path / f"cut_{deadly}"
        code, log = run(spec, output, deadly=deadly)
        if code == 0:
            break
        assert code == -signal.SIGKILL, log
        killed += 1
        code, log = run(spec, output)
        assert code == 0, log
        assert contents(output) == expected, f"killed before file operation {deadly}"
        left = {path.name for path in output.iterdir()}
        assert left == {"curves.parquet", "snapshots", "provenance.json"}, f"killed before file operation {deadly}"
        deadly += 1 if method in EVERYWHERE else 9
    # 12 checkpoints, 2 snapshots and 3 outputs are written, among others
    assert killed >= (20 if method in EVERYWHERE else 3)


def test_a_checkpoint_cut_short_is_set_aside(spec_of, run, tmp_path):
    """A disk that lost the end of a file that was renamed already: start afresh, end with the same bits."""
    spec = spec_of()
    assert run(spec, tmp_path / "whole")[0] == 0
    assert run(spec, tmp_path / "cut", deadly=15)[0] == -signal.SIGKILL
    path = tmp_path / "cut/checkpoint/part_0/state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    code, log = run(spec, tmp_path / "cut")
    assert code == 0
    assert "checkpoint refused" in log
    assert "damaged" in log
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_the_checkpoint_of_another_spec_is_not_resumed(spec_of, run, tmp_path):
    assert run(spec_of(), tmp_path / "cut", deadly=15)[0] == -signal.SIGKILL
    other = spec_of(method={"name": "sgd", "kind": "sgd", "lr": 0.05})
    code, log = run(other, tmp_path / "cut")
    assert code == 0
    assert "another job: settings was" in log
    assert run(other, tmp_path / "whole")[0] == 0
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_checkpoints_at_once_and_exits_75(spec_of, run, tmp_path, send):
    spec = spec_of()
    assert run(spec, tmp_path / "whole")[0] == 0
    code, log = run(spec, tmp_path / "cut", signal=send)
    assert code == 75
    assert "stopped at epoch 1.25; the same command resumes" in log
    code, log = run(spec, tmp_path / "cut")
    assert code == 0
    assert "resumed at epoch 1.25 (step 5)" in log
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
