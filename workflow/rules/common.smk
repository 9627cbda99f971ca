"""The plan of this config, and the functions that rules call. They only pass on what the package decides."""

import os
import gc
import shlex
import sys
import time
from pathlib import Path

from boundcheck.jobs.devices import num_gpus
from boundcheck.jobs.fork_server import start_fork_server
from boundcheck.jobs.job_state import read_state, state_path, tell_never_began
from boundcheck.jobs.running_snakemakes import FolderInUse, forget_killed_snakemake, hold_folder
from boundcheck.plain_text import plain
from boundcheck.planning.code_version import share_source
from boundcheck.planning.config import ConfigError
from boundcheck.planning.overlays import refuse_repeated_configfile
from boundcheck.planning.specs import SpecFiles
from boundcheck.planning.validation import validated_plan
from boundcheck.training.stopping import stop_jobs_with_process
from snakemake.exceptions import WorkflowError

gc.freeze()
gc.set_threshold(200_000)  # planning makes little garbage: fewer collections cut its time by a fifth
share_source()
stop_jobs_with_process(os.getpid())
if workflow.is_main_process:
    forget_killed_snakemake(Path())
overlays = [str(file) for file in workflow.overwrite_configfiles]
defaults = [str(file) for file in workflow.configfiles if str(file) not in overlays]
if workflow.config_settings.replace_workflow_config:
    defaults = []
try:
    refuse_repeated_configfile(sys.argv if workflow.is_main_process else [])
    PLAN = validated_plan(defaults + overlays, workflow.config_settings.config)
except ConfigError as error:
    raise WorkflowError(plain(f"config: {error}")) from None

SCALE = PLAN.scale
RUN_BEGAN = time.time()
SPECS = SpecFiles()
CELL = f"{SCALE}/{{study}}/{{dataset}}/{{model}}/{{method}}"
BATCH = f"{CELL}/{{seeds}}"
REPORT_MESSAGE = f"report: reports/{SCALE}/index.html"
OVERLAYS = shlex.join(["--configfile", *map(str, PLAN.sources.files[len(defaults) :])] if overlays else [])
ERROR_MESSAGE = (
    f"what failed: boundcheck status {OVERLAYS}\nreport of the results so far: boundcheck preview {OVERLAYS}"
)
NUM_GPUS = num_gpus()
workflow.global_resources.setdefault("gpu", max(NUM_GPUS, 1))


wildcard_constraints:
    study=PLAN.pattern("study"),
    data=PLAN.pattern("data"),
    dataset=PLAN.pattern("dataset"),
    model=PLAN.pattern("model"),
    method=PLAN.pattern("method"),
    seeds=r"seeds_\d+-\d+",


def per_attempt(amount):
    """A resource (MB, minutes) that grows with every retry."""

    def resource(wildcards, attempt):
        return amount * attempt

    return resource


def batch_folder(wildcards):
    return f"{wildcards.study}/{wildcards.dataset}/{wildcards.model}/{wildcards.method}/{wildcards.seeds}"


def fetch_spec(wildcards):
    return SPECS.path("data", PLAN.fetch_spec(wildcards.data))


def fetch_code(wildcards):
    return PLAN.fetch_code(wildcards.data)


def source_state(wildcards):
    return PLAN.source_state(wildcards.data)


def arrays(wildcards):
    """The examples of a batch."""
    return f"data/{PLAN.batches[batch_folder(wildcards)].data[0]}/arrays.safetensors"


def teacher_arrays(wildcards):
    """The weights of the teacher, for a batch that is trained by distillation."""
    return [f"data/{data}/arrays.safetensors" for data in PLAN.batches[batch_folder(wildcards)].data[1:]]


def data_provenance(wildcards):
    """What the examples and the teacher of a batch were made from."""
    return [f"data/{data}/provenance.json" for data in PLAN.batches[batch_folder(wildcards)].data]


def train_spec(wildcards):
    return SPECS.path(f"results/{SCALE}", PLAN.batches[batch_folder(wildcards)].train)


def train_code(wildcards):
    return PLAN.train_code(batch_folder(wildcards))


def measure_spec(wildcards):
    return SPECS.path(f"results/{SCALE}", PLAN.measure_spec(batch_folder(wildcards)))


def measure_code(wildcards):
    return PLAN.measure_code(batch_folder(wildcards))


def check_spec(wildcards):
    return SPECS.path(f"results/{SCALE}", PLAN.check_spec(wildcards.study))


def check_code(wildcards):
    return PLAN.check_code(wildcards.study)


def report_spec(wildcards):
    return SPECS.path(f"results/{SCALE}", PLAN.report_spec())


def batch_files(name, study=None):
    """The files of one name, of all batches or those of a study. Only batches with analyses are measured."""
    batches = [batch for batch in PLAN.batches.values() if study in (None, batch.study)]
    if name.startswith("measure"):
        batches = [batch for batch in batches if batch.analyses]
    return [f"results/{SCALE}/{batch.folder}/{name}" for batch in batches]


def result_files():
    """All files of all batches."""
    names = ("curves.parquet", "snapshots", "provenance.json", "measurements.parquet", "measure_provenance.json")
    return [file for name in names for file in batch_files(name)]


def study_curves(wildcards):
    return batch_files("curves.parquet", wildcards.study)


def study_snapshots(wildcards):
    return batch_files("snapshots", wildcards.study)


def study_provenance(wildcards):
    return batch_files("provenance.json", wildcards.study)


def study_measurements(wildcards):
    return batch_files("measurements.parquet", wildcards.study)


def study_measured(wildcards):
    return batch_files("measure_provenance.json", wildcards.study)


def gathered(target, files):
    """A function that returns the files of a target; with `--forcerun TARGET` it forces the jobs that make them, too."""

    def gathered_files(wildcards):
        if target in workflow.dag_settings.forcerun:
            workflow.dag.forcefiles.update(files)
        return files

    return gathered_files
