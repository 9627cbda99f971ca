"""What `status` and `why` say, from folders written by hand and by real trainings."""

import json
import os
import time

import pytest

from boundcheck.jobs.status import fetch_reasons, status_lines, why_lines
from boundcheck.planning.code_version import reached_from
from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import make_plan
from boundcheck.planning.job_code import fetch_modules
from boundcheck.training.progress import read_progress, write_progress

CELL = "gam/digits/mlp/sgd"
CONFIG = {
    "name": "tiny",
    "datasets": {"digits": {"kind": "digits", "train_size": 100, "test_size": 50}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 6}},
    "methods": {"sgd": {"kind": "sgd", "lr": 0.1}},
    "analyses": {"gradient": {"kind": "gradient_norm", "samples": 20}},
    "studies": {
        "gam": {
            "grid": [
                {
                    "datasets": ["digits"],
                    "models": ["mlp"],
                    "methods": ["sgd"],
                    "seeds": 3,
                    "training": {"epochs": 1},
                    "snapshots": [1],
                    "analyses": ["gradient"],
                }
            ]
        }
    },
}


@pytest.fixture
def plan_of(make_config):
    def plan_of(**method):
        return make_plan([make_config({**CONFIG, "methods": {"sgd": {**CONFIG["methods"]["sgd"], **method}}})])

    return plan_of


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results/tiny" / CELL / "seeds_0-2"


def state(plan, root):
    return next(iter(status_lines(plan, root)))


@pytest.fixture
def train(plan_of, spec_file, arrays, folder):
    def train(measured=True):
        from boundcheck.jobs.command_line import main

        plan = plan_of()
        batch = next(iter(plan.batches))
        spec = spec_file(plan.batches[batch].train)
        assert main(["train", "--spec", spec, "--data", str(arrays), "--output", str(folder)]) == 0
        if measured:
            paths = ["--snapshots", str(folder / "snapshots"), "--output", str(folder / "measurements.parquet")]
            spec = spec_file(plan.measure_spec(batch))
            assert main(["measure", "--spec", spec, "--data", str(arrays), *paths]) == 0

    return train


def test_waiting(plan_of, tmp_path):
    assert state(plan_of(), tmp_path).startswith("waiting      gam/digits/mlp/sgd/seeds_0-2")
    assert list(status_lines(plan_of(), tmp_path))[-1] == "1 batches: 1 waiting"


def test_running_interrupted_and_failed(plan_of, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("boundcheck.training.progress._is_alive", lambda process: process == os.getpid())
    write_progress(folder / "checkpoint", 2.5, 10, 31.4)
    assert state(plan_of(), tmp_path).endswith("epoch 2/10, 31 s left")
    assert state(plan_of(), tmp_path).startswith("running")
    monkeypatch.setattr("boundcheck.training.progress._is_alive", lambda process: False)
    assert state(plan_of(), tmp_path).startswith("interrupted")
    log = tmp_path / "logs/train/tiny" / CELL / "seeds_0-2.log"
    log.parent.mkdir(parents=True)
    log.write_text("epoch 1/10\nstopped at epoch 2.50; the same command resumes\n")
    assert state(plan_of(), tmp_path).startswith("interrupted")
    log.write_text("epoch 1/10\nboundcheck train: DataError: no such file\n")
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", str(log.relative_to(tmp_path))]


def test_a_dataset_that_cannot_be_had_fails_its_cells(plan_of, tmp_path):
    log = tmp_path / "logs/fetch/digits.log"
    log.parent.mkdir(parents=True)
    log.write_text("python -m boundcheck fetch\nboundcheck fetch: DataError: no such folder\n")
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", "logs/fetch/digits.log"]
    (tmp_path / "data/digits").mkdir(parents=True)
    (tmp_path / "data/digits/arrays.safetensors").touch()
    assert state(plan_of(), tmp_path).startswith("waiting")


def test_without_a_list_of_processes_nobody_is_called_dead(tmp_path, monkeypatch):
    monkeypatch.setattr("boundcheck.training.progress.PROCESSES", tmp_path / "no_proc")
    write_progress(tmp_path, 1, 2, None)
    assert read_progress(tmp_path)["is_alive"] is None


def test_a_process_that_ended_is_not_alive(tmp_path):
    write_progress(tmp_path, 1, 2, None)
    path = tmp_path / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "process": 2**22 + 1}))
    assert read_progress(tmp_path)["is_alive"] is False
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "another"}))
    assert read_progress(tmp_path)["is_alive"] is None
    path.write_text("{")
    assert read_progress(tmp_path) is None


@pytest.mark.parametrize(("seconds", "words"), [(90, "90 s ago"), (600, "10 min ago"), (3 * 3600, "3 h ago")])
def test_of_a_training_elsewhere_it_is_said_when_it_was_heard_of(plan_of, tmp_path, seconds, words):
    folder = tmp_path / "results/tiny" / CELL / "seeds_0-2/checkpoint"
    folder.mkdir(parents=True)
    write_progress(folder, 1, 2, None)
    path = folder / "progress.json"
    changed = {**json.loads(path.read_text()), "host": "another", "time": time.time() - seconds}
    path.write_text(json.dumps(changed))
    assert state(plan_of(), tmp_path).endswith(f"on another, last heard of {words}")


def test_trained_done_and_outdated(plan_of, train, tmp_path):
    train(measured=False)
    assert state(plan_of(), tmp_path).startswith("trained")
    assert "method.lr: was 0.1, is 0.2" in state(plan_of(lr=0.2), tmp_path)
    log = tmp_path / "logs/measure/tiny" / CELL / "seeds_0-2.log"
    log.parent.mkdir(parents=True)
    log.write_text("boundcheck measure: MemoryError: digits/mlp/sgd: out of memory\n")
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", str(log.relative_to(tmp_path))]
    train()
    assert state(plan_of(), tmp_path).startswith("done")
    assert "method.lr: was 0.1, is 0.2" in state(plan_of(lr=0.2), tmp_path)


def test_diverged(plan_of, train, folder, tmp_path):
    train()
    path = folder / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["runs"][1] |= {"status": "diverged", "reason": "training loss nan at step 3"}
    path.write_text(json.dumps(provenance))
    assert state(plan_of(), tmp_path).endswith("seed 1: training loss nan at step 3")


def test_why_names_the_key_and_the_module(plan_of, train, folder, tmp_path):
    train()
    assert why_lines(plan_of(), CELL, tmp_path)[1:3] == ["  train    up to date", "  measure  up to date"]
    lines = why_lines(plan_of(lr=0.2, momentum=0.9), CELL, tmp_path)
    assert "  train    method.lr: was 0.1, is 0.2" in lines
    assert "  train    method.momentum: was not set, is 0.9" in lines
    assert "  measure  its training runs" in lines
    path = folder / "provenance.json"
    path.write_text(path.read_text().replace('"boundcheck.methods.sgd": "', '"boundcheck.methods.sgd": "0'))
    assert "  train    code of boundcheck.methods.sgd changed" in why_lines(plan_of(), CELL, tmp_path)
    (folder / "curves.parquet").unlink()
    assert "  train    missing curves.parquet" in why_lines(plan_of(), CELL, tmp_path)


def test_why_knows_its_cells(plan_of, tmp_path):
    with pytest.raises(ConfigError, match="near it: gam/digits/mlp/sgd"):
        why_lines(plan_of(), "gam/digits/mlp/gam", tmp_path)


def fetched(plan, root, **changes):
    """A dataset's files, as its fetching would leave them now, but for some changes."""
    folder = root / "data/digits"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arrays.safetensors").touch()
    spec = plan.fetch_spec("digits")
    provenance = {"spec": spec, "modules": reached_from(*fetch_modules(spec)), "source": "none", **changes}
    (folder / "provenance.json").write_text(json.dumps(provenance))


def test_why_knows_a_dataset_that_would_be_fetched_again(plan_of, train, tmp_path):
    train()
    plan = plan_of()
    fetched(plan, tmp_path)
    assert fetch_reasons(plan, "digits", tmp_path) == []
    assert not any("fetch" in line for line in why_lines(plan, CELL, tmp_path))
    fetched(plan, tmp_path, source="another")
    assert fetch_reasons(plan, "digits", tmp_path) == ["its source has changed"]
    (tmp_path / "data/digits/provenance.json").write_text("{}")
    assert fetch_reasons(plan, "digits", tmp_path) == ["its arrays are of an older version"]
    fetched(plan, tmp_path, spec={"kind": "image_folder", "path": "images"}, source="another")
    assert fetch_reasons(plan, "digits", tmp_path) == [
        "kind: was image_folder, is digits",
        "path: was images, is not set",
    ]
    modules = {**reached_from(*fetch_modules(plan.fetch_spec("digits"))), "boundcheck.data.fetch": "old"}
    fetched(plan, tmp_path, modules=modules)
    lines = why_lines(plan, CELL, tmp_path)
    assert "  fetch    code of boundcheck.data.fetch changed" in lines
    assert "  train    its dataset is fetched again" in lines
    assert "data: code of boundcheck.data.fetch changed" in state(plan, tmp_path)


def test_status_names_a_check_or_report_that_failed(plan_of, tmp_path):
    for log in ("logs/check/tiny/gam.log", "logs/report/tiny.log"):
        (tmp_path / log).parent.mkdir(parents=True)
        (tmp_path / log).write_text("python -m boundcheck\nboundcheck check: OSError: [Errno 28] No space left\n")
    *_, check, report, counts = status_lines(plan_of(), tmp_path)
    assert check.split() == ["failed", "check", "of", "gam", "logs/check/tiny/gam.log"]
    assert report.split() == ["failed", "report", "of", "tiny", "logs/report/tiny.log"]
    assert counts == "1 batches: 1 waiting, 2 failed"
