"""A report of a scale that is not finished. Missing batches are listed with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from boundcheck.jobs.job_state import read_state, state_path
from boundcheck.jobs.status import ENDED_BADLY, BatchState, state_of
from boundcheck.manifests import digest_of
from boundcheck.planning.plan import Batch, Plan
from boundcheck.report.check import check
from boundcheck.report.report import report


def preview(plan: Plan, root: Path) -> Path:
    """Check and report the results on disk. It changes neither the results nor the report of the finished scale.

    Batches that are damaged, or of other settings, count as missing; those of other code are used with a warning.
    Claims that need missing batches get the verdict `not run`.

    Args:
        plan: the plan of the config.
        root: the folder with results/ and reports/.

    Returns:
        The page, `reports/<scale>/preview/index.html`.
    """
    states = {folder: state_of(plan, batch, root, verify=True) for folder, batch in plan.batches.items()}
    usable = [folder for folder, state in states.items() if state.is_trained]
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


def _absent(batches: list[Batch], states: Mapping[str, BatchState], root: Path) -> dict[str, dict[str, str]]:
    """The batches that are `missing` or `unmeasured`, by their folder within the study, with the reason.

    For a failure the reason is its log and its message.
    """
    absent: dict[str, dict[str, str]] = {"missing": {}, "unmeasured": {}}
    for batch in batches:
        state = states[batch.folder]
        if not state.is_measured:
            job = read_state(state_path(root / state.detail)) if state.word in ENDED_BADLY else None
            why = ": ".join(filter(None, [state.detail, job.message if job else ""]))
            kind = "unmeasured" if state.is_trained else "missing"
            absent[kind][batch.folder.partition("/")[2]] = f"{state.word}; {why}" if why else state.word
    return absent
