"""A report of a scale that is not finished. Missing batches are listed with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from boundcheck.jobs.status import state_of
from boundcheck.manifests import digest_of
from boundcheck.planning.plan import Batch, Plan
from boundcheck.report.check import check
from boundcheck.report.report import report

USABLE = ("done", "diverged", "trained")


def preview(plan: Plan, root: Path) -> Path:
    """Check and report the results on disk. It changes neither the results nor the report of the finished scale.

    Batches of other settings or other code count as missing, because the next run would redo them. Claims that need
    missing batches get the verdict `not run`.

    Args:
        plan: the plan of the config.
        root: the folder with results/ and reports/.

    Returns:
        The page, `reports/<scale>/preview/index.html`.
    """
    states = {folder: state_of(plan, batch, root) for folder, batch in plan.batches.items()}
    usable = [folder for folder, (state, detail) in states.items() if _is_usable(state, detail)]
    output = root / "reports" / plan.scale / "preview"
    with TemporaryDirectory() as temporary:
        results, specs = Path(temporary), {}
        for folder in usable:
            link = results / folder
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((root / "results" / plan.scale / folder).resolve(), target_is_directory=True)
        for study in plan.studies:
            specs[study] = {**plan.check_spec(study), **_absent(plan.of_study(study), states, root)}
            check(specs[study], results / study, results / study)
        unfinished = f"{plan.scale}, unfinished: {len(usable)} of {len(plan.batches)} batches are there"
        checks = {study: digest_of(spec) for study, spec in specs.items()}
        report({**plan.report_spec(), "scale": unfinished, "checks": checks}, results, output)
    return output / "index.html"


def _is_usable(state: str, detail: str) -> bool:
    """Whether the training of a batch is finished. If only its measuring failed, its curves can still be used."""
    return state in USABLE or (state == "failed" and Path(detail).parts[:2] == ("logs", "measure"))


def _absent(batches: list[Batch], states: Mapping[str, tuple[str, str]], root: Path) -> dict[str, dict[str, str]]:
    """The batches that are `missing` or `unmeasured`, by their folder within the study, with the reason.

    For a failure the reason is the last line of its log.
    """
    absent: dict[str, dict[str, str]] = {"missing": {}, "unmeasured": {}}
    for batch in batches:
        state, detail = states[batch.folder]
        if state not in ("done", "diverged"):
            why = f"{detail}: {_last_line(root / detail)}" if state == "failed" else detail
            kind = "unmeasured" if _is_usable(state, detail) else "missing"
            absent[kind][batch.folder.partition("/")[2]] = f"{state}; {why}" if why else state
    return absent


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "the log is empty")
