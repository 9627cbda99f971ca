"""The command line: one sub-command per rule, and `validate`. No logic."""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from boundcheck.data.errors import DataError
from boundcheck.jobs.devices import leased_gpu
from boundcheck.jobs.imports import quick_imports
from boundcheck.planning.overlays import refuse_repeated_configfile
from boundcheck.planning.specs import read_spec
from boundcheck.planning.yaml_files import ConfigError

CONFIG = Path("config/config.yaml")
JOBS = ("fetch", "train", "measure", "check", "report")  # their first line of output is the command itself


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; a user's mistake is one line on standard error and exit code 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    if options.command in JOBS:
        print(shlex.join(["python", "-m", "boundcheck", *words]), flush=True)
    begin = time.perf_counter()
    try:
        refuse_repeated_configfile(words)
        code = options.run(options)
        if options.command in JOBS and code == 0:
            print(_cost(time.perf_counter() - begin), flush=True)
        return code
    except (ConfigError, DataError, MemoryError, OSError) as error:
        print(f"boundcheck {options.command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # a defect: all of it, and last of all the line that `status` looks for
        traceback.print_exc()
        print(f"boundcheck {options.command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _cost(seconds: float) -> str:
    """Time and peak memory of a job, excluding inherited imports."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    megabytes = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return f"done: {seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of CPU, {megabytes:.0f} MB at most"


def _fetch(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.data.fetch import fetch
        from boundcheck.planning.code_version import reached_from
        from boundcheck.planning.job_code import fetch_modules

    spec = read_spec(options.spec)
    fetch(spec, options.output, reached_from(*fetch_modules(spec)), options.source)
    return 0


def _train(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.jobs.compiler import skip_compiler
        from boundcheck.planning.code_version import reached_from
        from boundcheck.planning.job_code import train_modules
        from boundcheck.training.train import TrainingInterrupted, train

    spec = read_spec(options.spec)
    modules = reached_from(*train_modules(spec))
    skip_compiler()
    try:
        with leased_gpu():
            seconds = options.checkpoint_seconds
            train(spec, options.data, options.output, options.code, modules, options.threads, seconds)
    except TrainingInterrupted as interruption:
        print(interruption, flush=True)
        return 75  # EX_TEMPFAIL: the same command goes on
    return 0


def _measure(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.jobs.compiler import skip_compiler
        from boundcheck.measuring.measure import measure
        from boundcheck.planning.code_version import reached_from
        from boundcheck.planning.job_code import measure_modules

    spec = read_spec(options.spec)
    modules = reached_from(*measure_modules(spec))
    skip_compiler()
    with leased_gpu():
        measure(spec, options.data, options.snapshots, options.output, modules, options.threads)
    return 0


def _check(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.report.check import check

    check(read_spec(options.spec), options.results, options.results)
    return 0


def _report(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.report.report import report

    report(read_spec(options.spec), options.results, options.output, options.threads)
    return 0


def _status(options: argparse.Namespace) -> int:
    from boundcheck.jobs.status import status_lines
    from boundcheck.planning.validation import validated_plan

    print(*status_lines(validated_plan([CONFIG, *options.configfile]), Path()), sep="\n")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from boundcheck.jobs.preview import preview
    from boundcheck.planning.validation import validated_plan

    print(f"report of what is there: {preview(validated_plan([CONFIG, *options.configfile]), Path())}")
    return 0


def _why(options: argparse.Namespace) -> int:
    from boundcheck.jobs.status import why_lines
    from boundcheck.planning.validation import validated_plan

    print(*why_lines(validated_plan([CONFIG, *options.configfile]), options.cell, Path()), sep="\n")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from boundcheck.jobs.claim_validation import claims_lines
    from boundcheck.jobs.compiler import skip_compiler
    from boundcheck.jobs.validate import validate
    from boundcheck.planning.grid import make_plan

    skip_compiler()
    files = options.files or [CONFIG, *options.configfile]
    answer = validate(make_plan(files, json.loads(options.values)))
    if options.json:
        print(json.dumps(answer))
        return 0
    for error in answer["errors"]:
        print(error, file=sys.stderr)
    if not answer["errors"]:
        print(f"{', '.join(map(str, files))}: valid")
        print(*claims_lines(answer["claims"], with_cells=False), sep="\n")
    return 1 if answer["errors"] else 0


def _kinds(options: argparse.Namespace) -> int:
    from boundcheck.jobs.kind_pages import kinds_text

    print(kinds_text(options.sections), end="")
    return 0


def _schema(_: argparse.Namespace) -> int:
    from boundcheck.jobs.config_schema import config_schema

    print(json.dumps(config_schema(), indent=1, ensure_ascii=False))
    return 0


def _claims(options: argparse.Namespace) -> int:
    from boundcheck.jobs.claim_validation import claims_lines
    from boundcheck.jobs.kind_pages import claims_text
    from boundcheck.planning.config import Sources
    from boundcheck.planning.validation import validated_plan

    if options.cells:
        plan = validated_plan([CONFIG, *options.configfile])
        print(*claims_lines(plan.claims, with_cells=True), sep="\n")
        return 0
    print(claims_text(Sources([CONFIG, *options.configfile]).merged()), end="")
    return 0


def _idle(_: argparse.Namespace) -> int:
    from boundcheck.jobs.running_snakemakes import snakemakes_at_work

    processes = snakemakes_at_work(Path())
    if processes:
        numbers = ", ".join(map(str, processes))
        print(f"a Snakemake is at work in this folder (process {numbers}); wait for it or stop it", file=sys.stderr)
    return 1 if processes else 0


def _reference(options: argparse.Namespace) -> int:
    from boundcheck.atomic_files import write_text
    from boundcheck.report.kept_verdicts import counts_table, latest_reference, verdict_tables, with_section

    reference = latest_reference(options.reports)
    for page, name, content in (
        (options.readme, "counts", counts_table(reference)),
        (options.reports / "README.md", "verdicts", verdict_tables(reference)),
    ):
        write_text(with_section(page.read_text(encoding="utf-8"), name, content), page)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="boundcheck", description="Does the theory hold on the curve?")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_jobs(commands)
    _add_questions(commands)
    return parser


def _add_jobs(commands: Any) -> None:
    """What the rules run: one job each."""
    fetch = _command(commands, "fetch", _fetch, "get one dataset and write its array file")
    train = _command(commands, "train", _train, "train one batch of seeds")
    measure = _command(commands, "measure", _measure, "measure the snapshots of one batch")
    check = _command(commands, "check", _check, "check the theorems of one study and decide its claims")
    report = _command(commands, "report", _report, "build the report of a scale")
    for command in (fetch, train, measure, check, report):
        command.add_argument("--spec", type=Path, required=True, help="JSON file: all that defines the job")
    fetch.add_argument(
        "--source", default="none", help="state of the folder or archive that is read, kept beside the arrays"
    )
    for command in (train, measure):
        command.add_argument("--data", type=Path, required=True, help="the dataset's array file")
    for command in (train, measure, report):
        command.add_argument("--threads", type=int, default=1, help="torch threads; processes that draw the report")
    train.add_argument("--code", default="", help="version of the code, part of a checkpoint's identity")
    train.add_argument("--checkpoint-seconds", type=float, default=60, help="seconds between checkpoints")
    measure.add_argument("--snapshots", type=Path, required=True, help="the batch's snapshots folder")
    check.add_argument("--results", type=Path, required=True, help="results/<scale>/<study>")
    report.add_argument("--results", type=Path, required=True, help="results/<scale>")
    for command in (fetch, train, measure, report):
        command.add_argument("--output", type=Path, required=True, help="where the results go")


def _add_questions(commands: Any) -> None:
    """What a user asks."""
    status = _command(commands, "status", _status, "the state of every batch of a config")
    preview = _command(commands, "preview", _preview, "check and report what is there of an unfinished scale")
    why = _command(commands, "why", _why, "what a re-run would redo of a cell, and because of what")
    why.add_argument("cell", help="study/dataset/model/method, as `status` prints it")
    validate = _command(commands, "validate", _validate, "check a config before anything is computed")
    validate.add_argument("--files", type=Path, nargs="*", help="all files of a config (what Snakemake hands over)")
    validate.add_argument("--values", default="{}", help="JSON: values of `--config`, which come last")
    validate.add_argument("--json", action="store_true", help="print the answer as JSON")
    claims = _command(commands, "claims", _claims, "what a config asks of each study, and what decides it")
    claims.add_argument("--cells", action="store_true", help="which cells each claim looks at, and their baselines")
    for command in (status, preview, why, validate, claims):
        command.add_argument("--configfile", type=Path, nargs="*", default=[], help="overlays on config/config.yaml")
    _command(commands, "idle", _idle, "fail while a Snakemake is at work in this folder")
    reference = _command(
        commands, "reference", _reference, "write the verdicts of the newest kept report into the pages"
    )
    reference.add_argument("--reports", type=Path, default=Path("reports/reference"), help="where reports are kept")
    reference.add_argument("--readme", type=Path, default=Path("README.md"), help="the page that gets the counts")
    _command(commands, "schema", _schema, "the JSON schema of a config, for editors")
    kinds = _command(commands, "kinds", _kinds, "every kind that a config may name, with its fields")
    kinds.add_argument("sections", nargs="*", help="only these: datasets, models, methods, analyses, record, ...")


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)
    command.set_defaults(run=run)
    return command
