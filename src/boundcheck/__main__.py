"""The command line: one sub-command per rule, and `validate`. No logic."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from boundcheck.config import ConfigError
from boundcheck.data.errors import DataError

CONFIG = Path("config/config.yaml")
JOBS = ("fetch", "train", "measure", "check", "report")  # their first line of output is the command itself


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; a user's mistake is one line on standard error and exit code 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    if options.command in JOBS:
        print(shlex.join(["python", "-m", "boundcheck", *words]), flush=True)
    try:
        return options.run(options)
    except (ConfigError, DataError, MemoryError, OSError) as error:
        print(f"boundcheck {options.command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _fetch(options: argparse.Namespace) -> int:
    from boundcheck.stages.fetch import fetch

    fetch(json.loads(options.spec), options.output)
    return 0


def _train(options: argparse.Namespace) -> int:
    from boundcheck.code_version import reached_from
    from boundcheck.plan import train_modules
    from boundcheck.stages.train import TrainingInterrupted, train

    spec = json.loads(options.spec)
    modules = reached_from(*train_modules(spec))
    try:
        train(spec, options.data, options.output, options.code, modules, options.threads, options.checkpoint_seconds)
    except TrainingInterrupted as interruption:
        print(interruption, flush=True)
        return 75  # EX_TEMPFAIL: the same command goes on
    return 0


def _measure(options: argparse.Namespace) -> int:
    from boundcheck.code_version import reached_from
    from boundcheck.plan import measure_modules
    from boundcheck.stages.measure import measure

    spec = json.loads(options.spec)
    modules = reached_from(*measure_modules(spec))
    measure(spec, options.data, options.snapshots, options.output, modules, options.threads)
    return 0


def _check(options: argparse.Namespace) -> int:
    from boundcheck.stages.check import check

    check(json.loads(options.spec), options.results, options.results)
    return 0


def _report(options: argparse.Namespace) -> int:
    from boundcheck.stages.report import report

    report(json.loads(options.spec), options.results, options.output)
    return 0


def _status(options: argparse.Namespace) -> int:
    from boundcheck.stages.status import status_lines
    from boundcheck.validation import validated_plan

    print(*status_lines(validated_plan([CONFIG, *options.configfile]), Path()), sep="\n")
    return 0


def _why(options: argparse.Namespace) -> int:
    from boundcheck.stages.status import why_lines
    from boundcheck.validation import validated_plan

    print(*why_lines(validated_plan([CONFIG, *options.configfile]), options.cell, Path()), sep="\n")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from boundcheck.plan import make_plan
    from boundcheck.stages.validate import validate

    files = options.configfile if options.merged else [CONFIG, *options.configfile]
    config = json.loads(options.merged.read_text(encoding="utf-8")) if options.merged else None
    answer = validate(make_plan(files, config))
    if options.json:
        print(json.dumps(answer))
        return 0
    for error in answer["errors"]:
        print(error, file=sys.stderr)
    if not answer["errors"]:
        print(f"{', '.join(map(str, files))}: valid")
    return 1 if answer["errors"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="boundcheck", description="Does the theory hold on the curve?")
    commands = parser.add_subparsers(dest="command", required=True)

    fetch = commands.add_parser("fetch", help="get one dataset and write its array file")
    fetch.set_defaults(run=_fetch)
    fetch.add_argument("--spec", required=True, help="JSON: the dataset's variant")
    fetch.add_argument("--output", type=Path, required=True, help="the array file")

    train = commands.add_parser("train", help="train one batch of seeds")
    train.set_defaults(run=_train)
    train.add_argument("--checkpoint-seconds", type=float, default=60, help="seconds between checkpoints")

    measure = commands.add_parser("measure", help="measure the snapshots of one batch")
    measure.set_defaults(run=_measure)
    measure.add_argument("--snapshots", type=Path, required=True, help="the batch's snapshots folder")

    for command in (train, measure):
        command.add_argument("--spec", required=True, help="JSON: all that defines the job")
        command.add_argument("--data", type=Path, required=True, help="the dataset's array file")
        command.add_argument("--threads", type=int, default=1, help="torch threads")
        command.add_argument("--output", type=Path, required=True, help="where the results go")
    train.add_argument("--code", default="", help="version of the code, part of a checkpoint's identity")

    check = commands.add_parser("check", help="check the theorems of one paper and decide its claims")
    check.set_defaults(run=_check)
    check.add_argument("--spec", required=True, help="JSON: batches, checks and claims")
    check.add_argument("--results", type=Path, required=True, help="results/<scale>/<paper>")

    report = commands.add_parser("report", help="build the report of a scale")
    report.set_defaults(run=_report)
    report.add_argument("--spec", required=True, help="JSON: papers and effective config")
    report.add_argument("--results", type=Path, required=True, help="results/<scale>")
    report.add_argument("--output", type=Path, required=True, help="reports/<scale>")

    status = commands.add_parser("status", help="the state of every batch of a config")
    status.set_defaults(run=_status)
    why = commands.add_parser("why", help="what a re-run would redo of a cell, and because of what")
    why.set_defaults(run=_why)
    why.add_argument("cell", help="paper/dataset/model/method, as `status` prints it")
    for command in (status, why):
        command.add_argument("--configfile", type=Path, nargs="*", default=[], help="overlays on config/config.yaml")

    validate = commands.add_parser("validate", help="check a config before anything is computed")
    validate.set_defaults(run=_validate)
    validate.add_argument("--configfile", type=Path, nargs="*", default=[], help="overlays on config/config.yaml")
    validate.add_argument("--merged", type=Path, help="the merged config as JSON (what Snakemake hands over)")
    validate.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
