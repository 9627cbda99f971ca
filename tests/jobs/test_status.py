"""What `status` and `why` say, from folders written by hand and by real trainings."""

import json
import shutil
import time

import pytest

from boundcheck.jobs.job_state import StateFile, state_path, tell_never_began
from boundcheck.jobs.outdated import fetch_reasons
from boundcheck.jobs.preview import _absent
from boundcheck.jobs.status import state_of, status_lines, why_lines
from boundcheck.manifests import ResultError, read_manifest, write_manifest
from boundcheck.planning.code_version import reached_from
from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import make_plan
from boundcheck.planning.job_code import fetch_modules

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


def began(root, log):
    """The state file of a job that this process runs."""
    return StateFile(state_path(root / log))


def ended(root, log, code, message):
    """The state file of a job that has ended."""
    began(root, log).write(end=time.time(), exit=code, message=message)


def killed(root, log):
    """The state file of a job that was killed, as far as its process can be known."""
    began(root, log)
    change_state(root, log, process=2**22 + 1)


def change_state(root, log, **changes):
    path = state_path(root / log)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_running_interrupted_and_failed(plan_of, folder, tmp_path):
    log = f"logs/train/tiny/{CELL}/seeds_0-2.log"
    began(tmp_path, log)
    assert state(plan_of(), tmp_path).split() == ["running", f"{CELL}/seeds_0-2", "begins"]
    began(tmp_path, log).write_progress(2.5, 10, 31.4)
    assert state(plan_of(), tmp_path).endswith("epoch 2/10, 31 s left")
    assert state(plan_of(), tmp_path).startswith("running")
    change_state(tmp_path, log, process=2**22 + 1)
    assert state(plan_of(), tmp_path).split() == ["killed", f"{CELL}/seeds_0-2", log]  # nothing to resume
    (folder / "checkpoint").mkdir(parents=True)
    assert state(plan_of(), tmp_path).startswith("interrupted")
    stopped = began(tmp_path, log)
    stopped.write_progress(2.5, 10, None)
    stopped.write(end=time.time(), exit=75, message="stopped at epoch 2.50; the same command resumes")
    assert state(plan_of(), tmp_path).startswith("interrupted")
    ended(tmp_path, log, 1, "boundcheck train: DataError: no such file")
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", log]
    ended(tmp_path, log, 0, "")
    assert state(plan_of(), tmp_path).startswith("waiting")  # its outputs were deleted


def test_a_job_whose_shell_failed_has_failed(plan_of, tmp_path):
    log = f"logs/train/tiny/{CELL}/seeds_0-2.log"
    (tmp_path / log).parent.mkdir(parents=True)
    (tmp_path / log).write_text("bash: line 1: python: Argument list too long\n")
    tell_never_began(tmp_path / log, since=time.time())
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", log]


def test_a_dataset_that_cannot_be_had_fails_its_cells(plan_of, tmp_path):
    ended(tmp_path, "logs/fetch/digits.log", 1, "boundcheck fetch: DataError: no such folder")
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", "logs/fetch/digits.log"]
    killed(tmp_path, "logs/fetch/digits.log")
    assert state(plan_of(), tmp_path).split() == ["killed", f"{CELL}/seeds_0-2", "logs/fetch/digits.log"]
    (tmp_path / "data/digits").mkdir(parents=True)
    (tmp_path / "data/digits/arrays.safetensors").touch()
    assert state(plan_of(), tmp_path).startswith("waiting")


@pytest.mark.parametrize(("seconds", "words"), [(90, "90 s ago"), (600, "10 min ago"), (3 * 3600, "3 h ago")])
def test_of_a_training_elsewhere_it_is_said_when_it_was_heard_of(plan_of, folder, tmp_path, seconds, words):
    log = f"logs/train/tiny/{CELL}/seeds_0-2.log"
    began(tmp_path, log).write_progress(1, 2, None)
    (folder / "checkpoint").mkdir(parents=True)
    change_state(tmp_path, log, host="another", heartbeat=time.time() - seconds)
    said = state(plan_of(), tmp_path)
    assert said.endswith(f"on another, last heard of {words}")
    assert said.split()[0] == ("running" if seconds < 300 else "interrupted")


def test_trained_done_and_outdated(plan_of, train, tmp_path):
    train(measured=False)
    assert state(plan_of(), tmp_path).startswith("trained")
    assert "method.lr: was 0.1, is 0.2" in state(plan_of(lr=0.2), tmp_path)
    log = f"logs/measure/tiny/{CELL}/seeds_0-2.log"
    began(tmp_path, log)
    assert state(plan_of(), tmp_path).split() == ["running", f"{CELL}/seeds_0-2", "measuring"]
    killed(tmp_path, log)
    assert state(plan_of(), tmp_path).split() == ["killed", f"{CELL}/seeds_0-2", log]
    ended(tmp_path, log, 1, "boundcheck measure: MemoryError: digits/mlp/sgd: out of memory")
    assert state(plan_of(), tmp_path).split() == ["failed", f"{CELL}/seeds_0-2", log]
    train()
    assert state(plan_of(), tmp_path).startswith("done")
    assert "method.lr: was 0.1, is 0.2" in state(plan_of(lr=0.2), tmp_path)


def test_diverged(plan_of, train, folder, reseal, tmp_path):
    train()
    path = folder / "provenance.json"
    runs = read_manifest(path, "train")["runs"]
    runs[1] |= {"status": "diverged", "reason": "training loss nan at step 3"}
    reseal(path, runs=runs)
    assert state(plan_of(), tmp_path).endswith("seed 1: training loss nan at step 3")


def test_why_names_the_key_and_the_module(plan_of, train, folder, reseal, tmp_path):
    train()
    assert why_lines(plan_of(), CELL, tmp_path)[1:3] == ["  train    up to date", "  measure  up to date"]
    lines = why_lines(plan_of(lr=0.2, momentum=0.9), CELL, tmp_path)
    assert "  train    method.lr: was 0.1, is 0.2" in lines
    assert "  train    method.momentum: was not set, is 0.9" in lines
    assert "  measure  its training runs" in lines
    path = folder / "provenance.json"
    reseal(path, modules={**read_manifest(path, "train")["modules"], "boundcheck.methods.sgd": "0"})
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
    write_manifest(folder / "provenance.json", "fetch", provenance, outputs=())


def test_why_knows_a_dataset_that_would_be_fetched_again(plan_of, train, tmp_path):
    train()
    plan = plan_of()
    fetched(plan, tmp_path)
    assert fetch_reasons(plan, "digits", tmp_path) == []
    assert not any("fetch" in line for line in why_lines(plan, CELL, tmp_path))
    fetched(plan, tmp_path, source="another")
    assert fetch_reasons(plan, "digits", tmp_path) == ["its source has changed"]
    fetched(plan, tmp_path, spec={"kind": "digits", "version": 1}, source="another")
    with pytest.raises(ResultError, match=r"provenance.json: of another dataset \(digits-\w+\); to make it again: rm"):
        fetch_reasons(plan, "digits", tmp_path)
    modules = {**reached_from(*fetch_modules(plan.fetch_spec("digits"))), "boundcheck.data.fetch": "old"}
    fetched(plan, tmp_path, modules=modules)
    lines = why_lines(plan, CELL, tmp_path)
    assert "  fetch    code of boundcheck.data.fetch changed" in lines
    assert "  train    its dataset is fetched again" in lines
    assert "data: code of boundcheck.data.fetch changed" in state(plan, tmp_path)


def test_status_names_a_check_or_report_that_failed(plan_of, tmp_path):
    for log in ("logs/check/tiny/gam.log", "logs/report/tiny.log"):
        ended(tmp_path, log, 1, "boundcheck check: OSError: [Errno 28] No space left")
    *_, check, report, counts = status_lines(plan_of(), tmp_path)
    told = "boundcheck check: OSError: [Errno 28] No space left"
    assert check == f"failed       check of gam  logs/check/tiny/gam.log: {told}"
    assert report == f"failed       report of tiny  logs/report/tiny.log: {told}"
    assert counts == "1 batches: 1 waiting, 2 failed"
    began(tmp_path, "logs/check/tiny/gam.log")
    killed(tmp_path, "logs/report/tiny.log")
    assert list(status_lines(plan_of(), tmp_path))[-1] == "1 batches: 1 waiting, 1 running, 1 killed"


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "binary": lambda content: b"\0\1",
    "another type": lambda content: b"[1, 2]",
    "one bit": lambda content: content[:-60] + bytes([content[-60] ^ 1]) + content[-59:],
    "nested too deeply": lambda content: b"[" * 100_000,
}


@pytest.mark.parametrize(
    "name", ["provenance.json", "curves.parquet", "measure_provenance.json", "measurements.parquet"]
)
def test_a_damaged_file_is_named(plan_of, train, folder, tmp_path, name):
    train()
    path = folder / name
    whole = path.read_bytes()
    for damage, damaged in DAMAGE.items():
        path.write_bytes(damaged(whole))
        said = state(plan_of(), tmp_path)
        assert said.startswith(f"damaged      {CELL}/seeds_0-2  {path}: damaged ("), damage
        assert said.endswith(f"; to make it again: rm -rf {path}, then the same snakemake command"), damage
        assert why_lines(plan_of(), CELL, tmp_path) == [f"{CELL}/seeds_0-2", f"  damaged  {said.split('  ')[-1]}"]
    path.unlink()
    path.mkdir()
    assert state(plan_of(), tmp_path).startswith(f"damaged      {CELL}/seeds_0-2  {path}: ")


@pytest.mark.parametrize("stage", ["train", "measure"])
def test_the_provenance_of_another_cell_is_named(plan_of, train, folder, reseal, tmp_path, stage):
    train()
    path = folder / ("provenance.json" if stage == "train" else "measure_provenance.json")
    spec = read_manifest(path, stage)["spec"]
    reseal(path, spec={**spec, "method": {**spec["method"], "name": "adam"}})
    assert f"{path}: of another batch (digits/mlp/adam/0/1/2); to make it again: rm" in state(plan_of(), tmp_path)


def test_the_provenance_of_another_stage_is_named(plan_of, train, folder, tmp_path):
    train()
    fetched(plan_of(), tmp_path)
    shutil.copy(folder / "measure_provenance.json", tmp_path / "data/digits/provenance.json")
    assert "data/digits/provenance.json: the provenance of another stage" in state(plan_of(), tmp_path)
    fetched(plan_of(), tmp_path)
    shutil.copy(folder / "measure_provenance.json", folder / "provenance.json")
    assert "seeds_0-2/provenance.json: the provenance of another stage (measure)" in state(plan_of(), tmp_path)


def test_a_changed_snapshot_is_found_on_request(plan_of, train, folder, tmp_path):
    train()
    path = folder / "snapshots/epoch_1.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert state(plan_of(), tmp_path).startswith("done")
    assert f"{path}: damaged (" in next(iter(status_lines(plan_of(), tmp_path, verify=True)))


def test_results_of_other_code_are_outdated_and_usable(plan_of, train, folder, reseal, tmp_path):
    train()
    path = folder / "provenance.json"
    reseal(path, modules={**read_manifest(path, "train")["modules"], "boundcheck.methods.sgd": "0"})
    (batch,) = plan_of().batches.values()
    found = state_of(plan_of(), batch, tmp_path)
    assert (found.word, found.is_trained, found.is_measured) == ("outdated", True, True)
    (other,) = plan_of(lr=0.2).batches.values()
    found = state_of(plan_of(lr=0.2), other, tmp_path)
    assert (found.word, found.is_trained, found.is_measured) == ("outdated", False, False)


def test_a_snapshot_that_is_gone_is_named(plan_of, train, folder, tmp_path):
    train()
    (folder / "snapshots/epoch_1.safetensors").unlink()
    assert f"{folder}/snapshots/epoch_1.safetensors: does not exist" in state(plan_of(), tmp_path)


def test_a_damaged_provenance_of_a_dataset_is_named(plan_of, train, tmp_path):
    train()
    fetched(plan_of(), tmp_path)
    (tmp_path / "data/digits/provenance.json").write_text("{")
    assert "damaged      gam" in state(plan_of(), tmp_path)
    assert "data/digits/provenance.json: damaged (JSONDecodeError)" in state(plan_of(), tmp_path)


def test_a_preview_says_what_is_damaged_failed_or_killed(plan_of, train, folder, tmp_path):
    def reason():
        batches = plan_of().batches
        states = {name: state_of(plan_of(), batch, tmp_path) for name, batch in batches.items()}
        absent = _absent([*batches.values()], states, tmp_path)
        return next(((kind, *why.values()) for kind, why in absent.items() if why), None)

    train()
    assert reason() is None
    (folder / "measurements.parquet").write_text("")
    kind, why = reason()
    assert kind == "unmeasured"
    assert why.startswith(f"damaged; {folder}/measurements.parquet: damaged (")
    (folder / "measurements.parquet").unlink()
    assert reason() == ("unmeasured", "trained; not yet measured")
    (folder / "provenance.json").write_text("{")
    kind, why = reason()
    assert kind == "missing"
    assert why.startswith(f"damaged; {folder}/provenance.json: damaged (")
    (folder / "provenance.json").unlink()
    log = f"logs/train/tiny/{CELL}/seeds_0-2.log"
    ended(tmp_path, log, 1, "boundcheck train: OSError: no space")
    assert reason() == ("missing", f"failed; {log}: boundcheck train: OSError: no space")
    killed(tmp_path, log)
    assert reason() == ("missing", f"killed; {log}")
