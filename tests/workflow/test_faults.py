"""What a run survives: killed, started twice, a dataset that is not there; and the report with holes."""

import base64
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from boundcheck.planning.fetches import data_name

pytestmark = pytest.mark.xdist_group("finished")  # one worker, one finished run

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ["config/test.yaml", "config/small.yaml"]
CELL = "small/gam/tiny_digits/tiny_mlp/sgd/seeds_0-2"
FILES = ["curves.parquet", "snapshots/epoch_0.safetensors", "snapshots/epoch_5.safetensors"]
WRITTEN = "            os.fsync(file.fileno())\n"
HELD = f"""{WRITTEN}
    import time
    while os.path.exists("hold"):
        time.sleep(0.05)
"""


@pytest.fixture
def held(finished, tmp_path):
    """A project with its data, whose one training waits beside its first checkpoint as long as a file `hold` exists."""
    project = finished.copied(tmp_path)
    project.edit("workflow/rules/train.smk", "--threads {threads}", "--threads {threads} --checkpoint-seconds 0")
    project.edit("src/boundcheck/training/checkpoint.py", WRITTEN, HELD)
    block = project.config["studies"]["gam"]["grid"][0]
    block |= {"methods": ["sgd"], "training": {"epochs": 5, "batch_size": 50}, "snapshots": [0, 5], "analyses": []}
    project.write_config("config/small.yaml", project.config)
    return project


@contextlib.contextmanager
def training(project):
    """Snakemake in a session of its own, held where its training has written its first checkpoint."""
    (project.folder / "hold").touch()
    checkpoint = project.folder / "results" / CELL / "checkpoint/part_0/state.safetensors"
    command = [sys.executable, "-m", "snakemake", "--configfile", *CONFIGS, "--cores", "1", "train"]
    output = project.folder / "snakemake.log"
    with (
        output.open("w") as log,
        subprocess.Popen(
            command, cwd=project.folder, env=project.environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            wait_for(checkpoint.exists, lambda: process.poll() is None, output)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(holds, may_wait, log):
    deadline = time.monotonic() + 200
    while not holds():
        assert may_wait(), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def training_log(project):
    return (project.folder / "logs/train" / f"{CELL}.log").read_text()


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def undisturbed(project, folder):
    """The files of the same training in one go: the command in the job's log, with another output."""
    words = shlex.split(training_log(project).splitlines()[0])
    project.boundcheck(*words[words.index("train") : -1], str(folder))
    return contents(folder)


def make_resume(project):
    """`make resume`, with the environment that is there."""
    (project.folder / ".venv").mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project.folder)
    for name in (".packages", ".ready"):
        (project.folder / ".venv" / name).touch()
    variables = [f"CONFIG={' '.join(CONFIGS)}", "CORES=1", "TARGET=train"]
    done = subprocess.run(
        ["make", "resume", *variables],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def release(project):
    (project.folder / "hold").unlink()


def test_a_killed_run_goes_on_to_the_same_bits(held, tmp_path):
    with training(held) as process:
        os.killpg(process.pid, signal.SIGKILL)
    output = tmp_path / "results" / CELL
    assert not (output / "provenance.json").exists()
    assert list((tmp_path / ".snakemake/locks").iterdir())
    release(held)
    make_resume(held)
    assert "resumed at epoch 0.25 (step 1)" in training_log(held)
    assert not (output / "checkpoint").exists()
    assert contents(output) == undisturbed(held, tmp_path / "undisturbed")


def test_after_a_kill_the_same_command_alone_goes_on(held, tmp_path):
    """Snakemake left its locks and its marks of what is incomplete."""
    with training(held) as process:
        process.kill()
        process.wait()
        assert list((tmp_path / ".snakemake/locks").iterdir())
        release(held)
        held.snakemake("train")
    assert contents(tmp_path / "results" / CELL) == undisturbed(held, tmp_path / "undisturbed")


def test_what_snakemake_marked_as_incomplete_is_made_again(finished, tmp_path):
    """An interrupt of Snakemake alone: the job ends well, and nobody takes its mark away."""
    project = finished.copied(tmp_path)
    mark = base64.urlsafe_b64encode(f"results/{CELL}/measurements.parquet".encode()).decode()
    (tmp_path / ".snakemake/incomplete" / mark).write_text('{"external_jobid": null}')
    assert project.planned()["measure_batch"] == 1


def test_a_training_whose_snakemake_was_killed_stops_with_a_checkpoint(held):
    log = held.folder / "logs/train" / f"{CELL}.log"
    with training(held) as process:
        process.kill()
        process.wait()
        release(held)
        wait_for(lambda: "stopped at epoch 0.50; the same command resumes" in log.read_text(), lambda: True, log)
    assert "1 interrupted" in held.boundcheck("status", "--configfile", *CONFIGS)


def test_a_second_snakemake_says_that_there_is_a_first(held, tmp_path):
    with training(held) as first:
        assert "Directory cannot be locked" in held.snakemake("train", expect=1)
        release(held)
        assert first.wait(timeout=200) == 0
    assert contents(tmp_path / "results" / CELL) == undisturbed(held, tmp_path / "undisturbed")


def test_a_second_snakemake_for_other_targets_is_refused_too(held, tmp_path):
    """Dry runs, reports and lists go on meanwhile, and so does the first."""
    with training(held) as first:
        refused = held.snakemake("--forcerun", "fetch", "--", "data", expect=1)
        line = rf"a Snakemake is running in this folder \(process {first.pid} on \S+\); wait for it or stop it"
        assert re.search(line, refused)
        assert "Traceback" not in refused
        for question in (["-n"], ["--lint"], ["--list"], ["--summary"], ["--rulegraph", "--", "data"]):
            assert re.search(line, held.server(held, "--configfile", *CONFIGS, "--cores", "1", *question))
        release(held)
        assert first.wait(timeout=200) == 0
    assert contents(tmp_path / "results" / CELL) == undisturbed(held, tmp_path / "undisturbed")


@pytest.mark.parametrize("what", ["results", f"results/{CELL}", f"results/{CELL}/checkpoint"])
def test_results_that_are_removed_meanwhile_are_made_again(held, tmp_path, what):
    """The training may fail, in one line; the same command makes everything again, and nothing wrong is kept."""
    with training(held) as process:
        shutil.rmtree(tmp_path / what)
        release(held)
        process.wait(timeout=200)
    assert "Traceback" not in training_log(held)
    held.snakemake("train")
    assert contents(tmp_path / "results" / CELL) == undisturbed(held, tmp_path / "undisturbed")
    assert not (tmp_path / "results" / CELL / "checkpoint").exists()


def test_a_measuring_job_that_was_killed_and_a_job_that_never_began_are_told(finished, tmp_path):
    """A measurement kills itself; the program of the other is not found."""
    project = finished.copied(tmp_path)
    project.edit(
        "src/boundcheck/measuring/measure.py",
        "    cell, device",
        "    import os; os.kill(os.getpid(), 9)\n    cell, device",
    )
    project.edit("workflow/rules/train.smk", "exec python", "exec no_such_python")
    block = project.config["studies"]["gam"]["grid"][0]
    block["methods"].append("adamw")
    project.write_config("config/small.yaml", project.config)
    project.snakemake("--rerun-triggers", "mtime", "--keep-going", "--forcerun", "measure", "--", "measure", expect=1)
    said = project.boundcheck("status", "--configfile", *CONFIGS)
    cell = "gam/tiny_digits/tiny_mlp/{}/seeds_0-2"
    assert re.search(
        rf"^killed +{cell.format('sgd')}  logs/measure/small/{cell.format('sgd')}.log$", said, re.MULTILINE
    )
    assert re.search(
        rf"^failed +{cell.format('adamw')}  logs/train/small/{cell.format('adamw')}.log$", said, re.MULTILINE
    )


HOSTILE_PATH = "no such 'folder\"; touch stolen; $(touch stolen) {input} ü"


ABSENT = {"kind": "image_folder", "path": HOSTILE_PATH, "size": 8}
FETCH_LOG = f"logs/fetch/{data_name(ABSENT)}.log"


@pytest.fixture(scope="module")
def holes(finished, tmp_path_factory):
    """A run with `--keep-going` in which a dataset beside the good one is not there, and its preview."""
    project = finished.copied(tmp_path_factory.mktemp("holes"))
    project.config["datasets"] = {"absent": ABSENT}
    block = project.config["studies"]["gam"]["grid"][0]
    block["datasets"].append("absent")
    block["methods"].append("adamw")
    project.write_config("config/small.yaml", project.config)
    project.before = stamps(project.folder / "results/small/gam/tiny_digits/tiny_mlp/sgd")
    project.log = project.snakemake("--keep-going", expect=1)
    kept = [project.folder / name for name in ("results", "reports/small/index.html", "reports/small/tables")]
    project.found = [stamps(path) for path in kept]
    project.said = project.boundcheck("preview", "--configfile", *CONFIGS)
    project.left = [stamps(path) for path in kept]
    return project


def stamps(path):
    """When each file was written last."""
    return {file: file.stat().st_mtime_ns for file in [path, *path.rglob("*")]}


def test_the_other_cells_finish(holes):
    cells = holes.folder / "results/small/gam/tiny_digits/tiny_mlp"
    assert (cells / "adamw/seeds_0-2/measurements.parquet").exists()
    assert stamps(cells / "sgd") == holes.before
    assert not (holes.folder / "results/small/gam/absent").exists()
    assert "boundcheck preview --configfile config/test.yaml config/small.yaml" in holes.log


def test_the_error_names_the_path_and_no_shell_reads_it(holes):
    last = (holes.folder / FETCH_LOG).read_text().splitlines()[-1]
    assert last.startswith("boundcheck fetch: DataError: ")
    assert HOSTILE_PATH in last
    assert not list(holes.folder.rglob("stolen"))


def test_without_keep_going_it_is_said_before_the_first_job(holes):
    (holes.folder / FETCH_LOG).rename(holes.folder / "absent.log")
    said = holes.snakemake(expect=1)
    (holes.folder / "absent.log").rename(holes.folder / FETCH_LOG)
    assert "config/small.yaml: datasets.absent.path: got " in said
    assert "which does not exist" in said
    assert "localrule fetch" not in said


def test_status_names_the_log_of_the_failure(holes):
    said = holes.boundcheck("status", "--configfile", *CONFIGS)
    assert "6 batches: 3 done, 3 failed" in said
    assert re.search(rf"failed +gam/absent/tiny_mlp/sgd/seeds_0-2 +{FETCH_LOG}", said)


def test_the_preview_decides_from_what_is_there_and_lists_what_is_not(holes):
    assert "reports/small/preview/index.html" in holes.said
    page = (holes.folder / "reports/small/preview/index.html").read_text()
    assert "unfinished: 3 of 6 batches are there" in page
    assert "DataError" in page
    tables = holes.folder / "reports/small/preview/tables"
    absent = pd.read_csv(tables / "gam_absent.csv")
    assert set(absent.dataset) == {"absent"}
    assert set(absent.method) == {"sgd", "gam_exact", "adamw"}
    assert absent.reason.str.startswith(f"failed; {FETCH_LOG}: boundcheck fetch: DataError").all()
    verdicts = pd.read_csv(tables / "verdicts.csv").set_index("name")
    assert verdicts.loc["first_order_flatness_dominates", "decision"] == "supported"


def test_the_preview_touches_neither_results_nor_the_report(holes):
    assert holes.left == holes.found


def test_a_preview_of_nothing_runs_no_claim(project):
    project.boundcheck("preview", "--configfile", *CONFIGS)
    verdicts = pd.read_csv(project.folder / "reports/small/preview/tables/verdicts.csv")
    assert set(verdicts.decision) == {"not run"}
    assert verdicts.reason.str.len().min() > 10
    assert not (project.folder / "results").exists()
