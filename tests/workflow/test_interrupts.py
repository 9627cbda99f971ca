"""Kills and interrupts at random moments: the same command goes on, and the results are those of a run left alone.

Two of the hundred attacks run with the other tests; `pytest -m long tests/workflow/test_interrupts.py` runs all.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.xdist_group("interrupts")  # one run that is left alone

CONFIGS = ("config/attacked.yaml",)
CLAIM = {"statement": "s", "reference": "r", "methods": ["gam_exact"], "baseline": "sgd"}
STUDY = {
    "name": "attacked",
    "datasets": {"tiny": {"kind": "digits", "train_size": 100, "test_size": 50}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 6}},
    "methods": {
        "sgd": {"kind": "sgd", "lr": 0.1},
        "gam_exact": {"kind": "gam", "rho": 0.1, "alpha": 0.1, "base": {"kind": "sgd", "lr": 0.1}},
    },
    "analyses": {
        "spectrum": {"kind": "hessian_spectrum", "top_k": 1, "samples": 50},
        "flatness": {"kind": "flatness", "samples": 50, "rhos": [0.1], "starts": 1, "iterations": 5},
    },
    "studies": {
        "kills": {
            "grid": [
                {
                    "datasets": ["tiny"],
                    "models": ["mlp"],
                    "methods": ["sgd", "gam_exact"],
                    "seeds": 3,
                    "training": {"epochs": 20, "batch_size": 25},
                    "snapshots": [0, 10, 20],
                    "analyses": ["spectrum", "flatness"],
                }
            ],
            "checks": {"dominates": {"kind": "zeroth_below_first"}},
            "claims": {
                "flatter": {"kind": "lower_value", "quantity": "sharpness", "source": "measurements", **CLAIM},
                "holds": {"kind": "theorem_holds", "check": "dominates", "statement": "s", "reference": "r"},
            },
        }
    },
}
STAGES = ("fetch", "train", "measure", "check", "report")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ("snakemake", "group", "group twice", "job", "fork", "server")
SAMPLE = (9, 28)  # a training, and Snakemake while it fetches, are killed
SECONDS = 200  # for what takes ten on a machine that does nothing else


@pytest.fixture(scope="module")
def small(new_project, tmp_path_factory):
    """A project whose trainings write a checkpoint after every step; nothing is made yet."""
    project = new_project(tmp_path_factory.mktemp("small"))
    project.edit("workflow/rules/train.smk", "--threads {threads}", "--threads {threads} --checkpoint-seconds 0")
    project.write_config("config/attacked.yaml", STUDY)
    return project


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    """The results of a run that is left alone."""
    project = small.copied(tmp_path_factory.mktemp("undisturbed"))
    project.snakemake(configs=CONFIGS)
    return results(project.folder)


def results(folder):
    """Every table and tensor of the results, by file; times and folders are left out."""
    found = {}
    for path in sorted((folder / "results/attacked").rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            found[name] = table.drop(columns=[c for c in ("wall_seconds", "cpu_seconds") if c in table])
        elif path.suffix == ".safetensors":
            found[name] = {key: (value.shape, value.tobytes()) for key, value in load_file(path).items()}
    found["arrays"] = [path.read_bytes() for path in sorted(folder.glob("data/*/arrays.safetensors"))]
    return found


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, theirs[name], check_exact=True, obj=name)
        else:
            assert value == theirs[name], name


class Process:
    """A process in /proc: its number, parent, process group and command."""

    def __init__(self, folder):
        self.number = int(folder.name)
        state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        self.parent, self.group, self.is_alive = int(parent), int(group), state not in "ZX"
        self.words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")


def processes():
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            process = Process(folder)
            if process.is_alive:
                yield process


def victims(target, snakemake):
    """The numbers of the processes that a signal may go to; a negative one is a process group."""
    everything = list(processes())
    servers = [p.number for p in everything if p.parent == snakemake and "boundcheck.jobs.fork_server" in p.words]
    if target == "server":
        return servers
    if target == "fork":
        return [p.number for p in everything if p.parent in servers]
    if target == "job":
        return [p.number for p in everything if p.parent == snakemake and "--spec" in p.words]
    return [-snakemake] if target.startswith("group") else [snakemake]


def send(victim, number):
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if victim < 0 else os.kill)(abs(victim), number)


def attack(project, chance):
    """Start a run, disturb it at a random moment, and wait until it has ended; what was done, in words."""
    target, number, stage = chance.choice(TARGETS), chance.choice(SIGNALS), chance.choice(("start", *STAGES))
    command = [sys.executable, "-m", "snakemake", "--configfile", *CONFIGS, "--cores", "1"]
    options = {"cwd": project.folder, "env": project.environment, "start_new_session": True}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background ignore it
    with (
        (project.folder / "attacked.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, **options) as run,
    ):
        deadline = time.monotonic() + SECONDS
        try:
            logs = project.folder / "logs" / stage
            while stage != "start" and run.poll() is None and not any(logs.rglob("*.json")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 4 if stage == "start" else 0.5))
            found = []
            while run.poll() is None and not found:  # until there is a job, a fork or a server to disturb
                assert time.monotonic() < deadline
                found = victims(target, run.pid)
            for victim in found[:1]:
                send(victim, number)
            if target == "group twice":
                time.sleep(chance.uniform(0, 0.3))
                send(-run.pid, number)
            run.wait(timeout=SECONDS)
        finally:
            send(-run.pid, signal.SIGKILL) if run.poll() is None else None
    place = f"in {stage}" if stage != "start" else "at the start"
    done = f"{signal.Signals(number).name} to {target} {place}" if found else f"nothing to disturb {place}"
    return f"{done}: exit code {run.returncode}"


def recover(project, done):
    """Run the same command again."""
    output = project.snakemake(configs=CONFIGS, expect=None, timeout=SECONDS)
    said = project.boundcheck("status", "--configfile", *CONFIGS)
    assert "2 batches: 2 done" in said, f"{done}\n{output}\n{said}"
    assert "Traceback" not in output, f"{done}\n{output}"
    return output


def check_round(small, undisturbed, folder, seed):
    project = small.copied(folder / "project")
    (folder / "temporary").mkdir()
    project.environment["TMPDIR"] = str(folder / "temporary")
    done = attack(project, random.Random(seed))
    print(f"{seed}: {done}", flush=True)
    recover(project, done)
    assert_equal(results(project.folder), undisturbed)
    left = [path for name in ("results", "data") for path in (project.folder / name).rglob("*.part")]
    left += (project.folder / "results").rglob("checkpoint")
    if "at the start" not in done:  # until the first job it is not known whose they are
        left += (folder / "temporary").glob("snakemake*")
    assert left == [], done
    return project, done


@pytest.mark.slow
@pytest.mark.parametrize("seed", SAMPLE)
def test_the_same_command_goes_on_to_the_same_bits(small, undisturbed, tmp_path, seed):
    check_round(small, undisturbed, tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_attacks(small, undisturbed, tmp_path, seed):
    check_round(small, undisturbed, tmp_path, seed)
