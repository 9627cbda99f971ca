"""The sub-commands for users: the state of a run, checks of a config, and lists of kinds and claims. No logic."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boundcheck.plain_text import one_line
from boundcheck.planning.overlays import CONFIG


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a sub-command; `run` executes it and returns the exit code."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)
    command.set_defaults(run=run)
    return command


def _status(options: argparse.Namespace) -> int:
    from boundcheck.jobs.status import status_lines
    from boundcheck.planning.validation import validated_plan

    print(*status_lines(validated_plan([CONFIG, *options.configfile]), Path(), options.verify), sep="\n")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from boundcheck.jobs.preview import preview
    from boundcheck.planning.validation import validated_plan

    print(f"report of the results so far: {preview(validated_plan([CONFIG, *options.configfile]), Path())}")
    return 0


def _why(options: argparse.Namespace) -> int:
    from boundcheck.jobs.status import why_lines
    from boundcheck.planning.validation import validated_plan

    print(*why_lines(validated_plan([CONFIG, *options.configfile]), options.cell, Path()), sep="\n")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from boundcheck.jobs.claim_lists import claims_lines
    from boundcheck.jobs.compiler import skip_compiler
    from boundcheck.jobs.validate import validate
    from boundcheck.planning.grid import make_plan

    skip_compiler()
    files = options.files or [CONFIG, *options.configfile]
    plan = make_plan(files, json.loads(options.values))
    answer = validate(plan)
    if options.json:
        print(json.dumps(answer))
        return 0
    for error in answer["errors"]:
        print(one_line(error), file=sys.stderr)
    if not answer["errors"]:
        for problem in (problem for data in plan.fetches for problem in plan.missing_source(data)):
            print(f"warning: {problem}", file=sys.stderr)
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
    from boundcheck.jobs.claim_lists import claims_lines
    from boundcheck.jobs.kind_pages import claims_text
    from boundcheck.planning.config import Sources
    from boundcheck.planning.validation import validated_plan

    if options.cells:
        plan = validated_plan([CONFIG, *options.configfile])
        print(*claims_lines(plan.claims, with_cells=True, names=options.names), sep="\n")
        return 0
    print(claims_text(Sources([CONFIG, *options.configfile]).merged()), end="")
    return 0


def _idle(_: argparse.Namespace) -> int:
    from boundcheck.jobs.running_snakemakes import in_use, running_snakemake

    running = running_snakemake(Path())
    if running:
        print(in_use(running), file=sys.stderr)
    return 1 if running else 0


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


def add_questions(commands: Any) -> None:
    """Add the sub-commands for users."""
    status = add_command(commands, "status", _status, "the state of every batch of a config")
    status.add_argument("--verify", action="store_true", help="read the snapshots and arrays too, to find damage")
    preview = add_command(commands, "preview", _preview, "check and report the results of an unfinished scale")
    why = add_command(commands, "why", _why, "what a re-run would redo of a cell, and why")
    why.add_argument("cell", help="study/dataset/model/method, as `status` prints it")
    validate = add_command(commands, "validate", _validate, "check a config before anything is computed")
    validate.add_argument("--files", type=Path, nargs="*", help="all files of a config (what Snakemake hands over)")
    validate.add_argument("--values", default="{}", help="JSON: values of `--config`, which come last")
    validate.add_argument("--json", action="store_true", help="print the answer as JSON")
    claims = add_command(commands, "claims", _claims, "the claims of each study, and the kinds that decide them")
    claims.add_argument("names", nargs="*", help="with --cells: only these studies and claims (patterns are allowed)")
    claims.add_argument("--cells", action="store_true", help="the cells that each claim uses, and their baselines")
    for command in (status, preview, why, validate, claims):
        command.add_argument("--configfile", type=Path, nargs="*", default=[], help="overlays on config/config.yaml")
    add_command(commands, "idle", _idle, "fail while a Snakemake is running in this folder")
    reference = add_command(
        commands, "reference", _reference, "write the verdicts of the newest kept report into the pages"
    )
    reference.add_argument("--reports", type=Path, default=Path("reports/reference"), help="where reports are kept")
    reference.add_argument("--readme", type=Path, default=Path("README.md"), help="the page that gets the counts")
    add_command(commands, "schema", _schema, "the JSON schema of a config, for editors")
    kinds = add_command(commands, "kinds", _kinds, "every kind that a config may name, with its fields")
    kinds.add_argument("sections", nargs="*", help="only these: datasets, models, methods, analyses, record, ...")
