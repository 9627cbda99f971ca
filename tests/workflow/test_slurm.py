"""The profile for Slurm, on a real Slurm with one node and two fake GPUs that is started here.

One run tells the whole story: both trainings exceed the memory of their first request; of the second attempts one
gets SIGTERM and the other is preempted; then the measurements, the check and the report.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

EPOCHS = 800  # long enough to be interrupted after the first line of progress
MEMORY = 600  # MB per attempt: too little for torch beside two Snakemakes, twice as much is enough
CELL = "gam/tiny_digits/tiny_mlp"
CONFIGS = ["config/test.yaml", "config/small.yaml"]
# The plugin looks at its jobs after one second, then less and less often, up to every three minutes: here every second.
SNAKEMAKE = """
import asyncio, sys
import snakemake.cli
sleep = asyncio.sleep
asyncio.sleep = lambda seconds, *result: sleep(min(seconds, 1), *result)
sys.exit(snakemake.cli.main())
"""
PATIENCE = 120  # seconds to wait for one event; a loaded machine starts a job in half a minute


class Slurm:
    """Commands of the cluster, and what it recorded."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, command, *arguments):
        done = subprocess.run([self.folder / "bin" / command, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def jobs(self, *states):
        """Jobs in these states (all, if none is named): number -> state, memory, time limit, the plugin's comment."""
        form = "%i|%T|%m|%l|%k"
        lines = self("squeue", "-h", "-o", form, "--states", ",".join(states) or "all").splitlines()
        return {int(line.split("|")[0]): line.split("|")[1:] for line in lines}

    def occupied(self):
        """(GPU, job, begin, end) of every job step, as Slurm's task prolog and epilog saw it."""
        began, spans = {}, []
        for line in (self.folder / "tasks").read_text().splitlines():
            event, job, step, moment, gpus = line.split()
            if event == "began":
                began[job, step] = float(moment)
            else:
                spans += [(gpu, int(job), began[job, step], float(moment)) for gpu in gpus.split(",")]
        return [span for span in spans if span[0] != "none"]


@pytest.fixture(scope="module")
def slurm():
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short name: a socket's path has at most 107 characters
    script = Path(__file__).with_name("mini_slurm.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, script, folder], text=True, start_new_session=True, **pipes)
    try:
        answer = server.stdout.readline().strip()
        if answer != "ready":
            reason = f"Slurm does not start: {answer}\n{server.communicate(timeout=60)[0]}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
        yield Slurm(folder)
    finally:
        server.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition, what, run):
    """The first true value of `condition()`; fails with the run's output if it ends before or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        if run.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(f"{what}: not seen\n{run.log.read_text()}")


@pytest.fixture(scope="module")
def story(slurm, new_project, tmp_path_factory):
    """The finished project; its `log` is Snakemake's output, `events` are the jobs that were disturbed."""
    project = new_project(tmp_path_factory.mktemp("story"))
    project.config["studies"]["gam"]["grid"][0]["training"]["epochs"] = EPOCHS
    project.write_config("config/small.yaml", project.config)
    project.edit("workflow/profiles/slurm/profile.yaml", "mem_mb: 8000 * attempt", f"mem_mb: {MEMORY} * attempt")
    project.edit("workflow/profiles/slurm/profile.yaml", "checks: 40", "checks: 1")
    project.environment["PATH"] = f"{slurm.folder / 'bin'}{os.pathsep}{project.environment['PATH']}"
    run = start(project, tmp_path_factory.mktemp("output") / "log")
    try:
        terminated = running_training(slurm, project, "sgd", run)
        slurm("scancel", "--signal=TERM", str(terminated))
        wait_for(lambda: terminated in slurm.jobs("FAILED"), "end of the terminated training", run)
        preempted = running_training(slurm, project, "gam_exact", run)
        slurm("sbatch", "-p", "urgent", "--gres=gpu:2", "--mem=50", "-o", "/dev/null", "--wrap", "sleep 1")
        run.wait(timeout=600)
    finally:
        stop(run)
    assert run.returncode == 0, run.log.read_text()
    project.log, project.events = run.log.read_text(), {"terminated": terminated, "preempted": preempted}
    return project


def start(project, log):
    words = ["--workflow-profile", "workflow/profiles/slurm", "--configfile", *CONFIGS]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SNAKEMAKE, *words],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    process.log = log
    return process


def stop(process):
    """The plugin waits for its jobs on SIGTERM: a run that is left over is killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def training_log(project, method):
    return project.folder / f"logs/train/small/{CELL}/{method}/seeds_0-2.log"


def running_training(slurm, project, method, run):
    """The number of the Slurm job that trains this method, once the training has shown progress."""
    log = training_log(project, method)
    name = f"train_batch_wildcards_{CELL.replace('/', '_')}_{method}"

    def job():
        if not log.exists() or not re.search(r"^epoch \d", log.read_text(), flags=re.MULTILINE):
            return None
        return next((number for number, job in slurm.jobs("RUNNING").items() if name in job[-1]), None)

    return wait_for(job, f"training of {method}", run)


def test_every_job_went_through_slurm(story, slurm):
    completed = [job[-1].split("_wildcards")[0] for job in slurm.jobs("COMPLETED").values()]
    rules = sorted(name.removeprefix("rule_") for name in completed if name.startswith("rule_"))
    assert rules == ["check_study", "measure_batch", "measure_batch", "report", "train_batch", "train_batch"]
    assert (story.folder / "reports/small/index.html").exists()


def test_more_memory_and_time_on_retry(story, slurm):
    jobs = sorted((number, *job) for number, job in slurm.jobs().items() if "rule_train_batch" in job[-1])
    requests = [(state, memory, limit) for _, state, memory, limit, *_ in jobs]
    assert requests[:2] == [("FAILED", f"{MEMORY}M", "4:00:00")] * 2
    assert {request[1:] for request in requests[2:4]} == {(f"{2 * MEMORY}M", "8:00:00")}
    for number in (jobs[0][0], jobs[1][0]):
        assert re.search(rf"StepId={number}\.0 exceeded memory limit", story.log)


def test_terminated_training_resumes(story, slurm):
    assert slurm.jobs()[story.events["terminated"]][0] == "FAILED"
    assert "returned non-zero exit status 75" in story.log  # the training's own, and not that of a shell that died
    assert resumed_at(story, "sgd") > 0
    assert epochs(story, "sgd") == list(range(EPOCHS + 1))


def test_preempted_training_is_requeued_and_resumes(story, slurm):
    """The same Slurm job ran twice, and Snakemake saw nothing of it."""
    number = story.events["preempted"]
    assert slurm.jobs()[number][0] == "COMPLETED"
    assert len({begin for _, job, begin, _ in slurm.occupied() if job == number}) == 2 * 2  # two steps, twice
    assert resumed_at(story, "gam_exact") > 0
    assert epochs(story, "gam_exact") == list(range(EPOCHS + 1))


def resumed_at(project, method):
    """The epoch at which the last attempt went on."""
    return float(re.search(r"^resumed at epoch ([\d.]+)", training_log(project, method).read_text(), re.MULTILINE)[1])


def epochs(project, method):
    """The epochs of one seed at which the test accuracy was recorded, as they stand in the file."""
    curve = pd.read_parquet(project.folder / f"results/small/{CELL}/{method}/seeds_0-2/curves.parquet")
    return list(curve[(curve.quantity == "test_accuracy") & (curve.seed == 0)].epoch)


def test_no_gpu_is_used_by_two_jobs_at_once(story, slurm):
    spans = slurm.occupied()
    for gpu, job, begin, end in spans:
        others = [other for other in spans if other[:2] != (gpu, job) and other[0] == gpu]
        assert not [other for other in others if other[2] < end and begin < other[3]]
    used = {gpu: {job for other, job, _, _ in spans if other == gpu} for gpu in ("0", "1")}
    assert used["0"]
    assert used["1"]


def test_the_training_sees_the_gpu_that_slurm_gave_it(story, slurm):
    given = {job: gpu for gpu, job, _, _ in slurm.occupied()}
    log = training_log(story, "gam_exact").read_text()
    assert re.search(r"^GPU (\d)$", log, re.MULTILINE)[1] == given[story.events["preempted"]]


def test_only_training_and_measuring_hold_a_gpu(story, slurm):
    holders = {job for _, job, _, _ in slurm.occupied()}
    rules = {number: job[-1].split("_wildcards")[0] for number, job in slurm.jobs("COMPLETED").items()}
    named = {number: rule for number, rule in rules.items() if rule.startswith("rule_")}
    assert {rule for number, rule in named.items() if number in holders} == {"rule_train_batch", "rule_measure_batch"}
    assert {rule for number, rule in named.items() if number not in holders} == {"rule_check_study", "rule_report"}


def test_afterwards_a_local_plan_has_nothing_to_do(story):
    assert "Nothing to be done" in story.snakemake("-n", configs=CONFIGS)


@pytest.mark.parametrize("name", ["slurm", "local-gpu"])
def test_every_setting_of_a_profile_is_explained(root, name):
    text = (root / f"workflow/profiles/{name}/profile.yaml").read_text()
    settings = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert [line for line in settings if "  # " not in line and not line.endswith(":")] == []
    assert yaml.safe_load(text)["retries"] >= 1
