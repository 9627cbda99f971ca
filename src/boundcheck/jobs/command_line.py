"""The command line: one sub-command per rule, and those for users (questions.py). No logic."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boundcheck.data.errors import DataError
from boundcheck.jobs.devices import leased_gpu
from boundcheck.jobs.imports import quick_imports
from boundcheck.jobs.job_state import STOPPED, StateFile
from boundcheck.jobs.questions import add_command, add_questions
from boundcheck.manifests import ResultError
from boundcheck.plain_text import plain_output
from boundcheck.planning.overlays import refuse_repeated_configfile
from boundcheck.planning.specs import read_spec
from boundcheck.planning.yaml_files import ConfigError
from boundcheck.training.stopping import TrainingInterrupted

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

CLOSED_PIPE = 128 + 13  # what a shell says of a command that SIGPIPE ended
JOBS = ("fetch", "train", "measure", "check", "report")  # their first line of output is the command itself


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; a user's mistake is one line on standard error and exit code 1.

    If the reader of the output has ended (`boundcheck kinds | head`), the command ends quietly.
    """
    try:
        with plain_output():
            return _main(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written goes nowhere
        return CLOSED_PIPE


def _main(words: list[str]) -> int:
    try:
        options = _parser().parse_args(words)
    finally:
        sys.stdout.flush()  # of --help: a closed pipe is noticed here, and not when Python ends
    if options.command not in JOBS:
        return _outcome(options, words)[0]
    print(shlex.join(["python", "-m", "boundcheck", *words]), flush=True)
    state = StateFile(options.state) if options.state else None
    options.tell_progress = state.write_progress if state else lambda *_: None
    begin = time.perf_counter()
    with state.beating() if state else contextlib.nullcontext():
        code, message = _outcome(options, words)
    if state:
        state.write(end=time.time(), exit=code, message=message)
    if code == 0:
        print(_cost(time.perf_counter() - begin), flush=True)
    return code


def _outcome(options: argparse.Namespace, words: list[str]) -> tuple[int, str]:
    """Run the sub-command; returns its exit code and, unless that is 0, its last message."""
    try:
        refuse_repeated_configfile(words)
        code = options.run(options)
        sys.stdout.flush()
        return code, ""
    except BrokenPipeError:
        raise
    except TrainingInterrupted as interruption:
        print(interruption, flush=True)
        return STOPPED, str(interruption)
    except KeyboardInterrupt:
        message = "interrupted; the same command starts it again"
        code = 128 + signal.SIGINT
    except (ConfigError, DataError, ResultError, MemoryError, OSError) as error:
        message, code = f"{type(error).__name__}: {error}", 1
    except Exception as error:  # a defect
        traceback.print_exc()
        message, code = f"{type(error).__name__}: {error}", 1
    message = f"boundcheck {options.command}: {message}"
    print(message, file=sys.stderr, flush=True)
    return code, message


def _cost(seconds: float) -> str:
    """Time and peak memory of a job, excluding inherited imports."""
    if resource is None:
        return f"done: {seconds:.1f} s"
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
        from boundcheck.training.train import train

    spec = read_spec(options.spec)
    modules = reached_from(*train_modules(spec))
    skip_compiler()
    how = (options.threads, options.checkpoint_seconds, options.tell_progress)
    with leased_gpu():
        train(spec, options.data, options.output, options.code, modules, *how)
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
        measure(spec, options.data, options.snapshots, options.output, modules, options.threads, options.code)
    return 0


def _check(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.report.check import check

    check(read_spec(options.spec), options.results, options.results, options.code)
    return 0


def _report(options: argparse.Namespace) -> int:
    with quick_imports():
        from boundcheck.report.report import report

    report(read_spec(options.spec), options.results, options.output, options.threads, options.code)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="boundcheck", description="Does the theory hold on the curve?")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_jobs(commands)
    add_questions(commands)
    return parser


def _add_jobs(commands: Any) -> None:
    """Add the sub-commands that the rules run, one job each."""
    fetch = add_command(commands, "fetch", _fetch, "get one dataset and write its array file")
    train = add_command(commands, "train", _train, "train one batch of seeds")
    measure = add_command(commands, "measure", _measure, "measure the snapshots of one batch")
    check = add_command(commands, "check", _check, "check the theorems of one study and decide its claims")
    report = add_command(commands, "report", _report, "build the report of a scale")
    for command in (fetch, train, measure, check, report):
        command.add_argument("--spec", type=Path, required=True, help="JSON file: all that defines the job")
        command.add_argument("--state", type=Path, help="JSON file: what the job is doing, for `boundcheck status`")
    fetch.add_argument(
        "--source", default="none", help="state of the folder or archive that is read, kept beside the arrays"
    )
    for command in (train, measure):
        command.add_argument("--data", type=Path, required=True, help="the dataset's array file")
    for command in (train, measure, report):
        command.add_argument("--threads", type=int, default=1, help="torch threads; processes that draw the report")
    for command in (train, measure, check, report):
        command.add_argument("--code", default="", help="version of the code, for the provenance")
    train.add_argument("--checkpoint-seconds", type=float, default=60, help="seconds between checkpoints")
    measure.add_argument("--snapshots", type=Path, required=True, help="the batch's snapshots folder")
    check.add_argument("--results", type=Path, required=True, help="results/<scale>/<study>")
    report.add_argument("--results", type=Path, required=True, help="results/<scale>")
    for command in (fetch, train, measure, report):
        command.add_argument("--output", type=Path, required=True, help="where the results go")
