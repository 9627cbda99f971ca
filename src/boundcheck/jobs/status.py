"""The state of every batch, and what a re-run would redo and why; read from the results on disk."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from boundcheck.jobs.job_state import JobState, read_state, state_path
from boundcheck.jobs.later_stages import damaged_data, later_stages
from boundcheck.jobs.outdated import OUTPUTS, fetch_reasons, measure_reasons, train_reasons
from boundcheck.manifests import (
    PROVENANCE,
    ResultError,
    read_manifest,
)
from boundcheck.planning.config import ConfigError
from boundcheck.planning.plan import Batch, Plan

ENDED_BADLY = ("failed", "killed")


class BatchState(NamedTuple):
    """The state of a batch.

    Args:
        word: one of those of `status_lines`.
        detail: what there is to say; of a job that failed or was killed, its log.
        is_trained: whether its training is finished, whole and current, so that its curves can be used.
        is_measured: whether its measurements are, too, or it has none.
    """

    word: str
    detail: str = ""
    is_trained: bool = False
    is_measured: bool = False


def status_lines(plan: Plan, root: Path, verify: bool = False) -> Iterator[str]:
    """One line per batch of the plan with its state; then the skipped cells, unfinished stages, and the counts.

    With `verify` snapshots and arrays of data, which may be large, are read too and compared with their digests.

    States: `waiting`; `running` with epoch and time left, or measuring; `interrupted` (the next run resumes it);
    `failed`, or `killed` without a word, with its log; `trained` but not yet measured; `done`; `diverged` with the
    seeds; `outdated`: finished, but with other settings or code; `damaged` with the file.
    """
    counts: dict[str, int] = {}

    def line(word: str, rest: str) -> str:
        counts[word] = counts.get(word, 0) + 1
        return f"{word:<12} {rest}"

    for batch in plan.batches.values():
        state = state_of(plan, batch, root, verify)
        yield line(state.word, f"{batch.folder}{f'  {state.detail}' if state.detail else ''}")
    for study, cells in plan.skipped.items():
        for cell in cells:
            name = f"{study}/{cell['dataset']}/{cell['model']}/{cell['method']}"
            yield line("skipped", f"{name}  {cell['reason']}")
    for log in _stage_logs(plan):
        job = read_state(state_path(root / log))
        if job and job.word in (*ENDED_BADLY, "running"):
            told = f": {job.message}" if job.message else ""
            yield line(job.word, f"{log.parts[1]} of {log.stem}  {log}{told}")
    for word, rest in [*later_stages(plan, root), *(damaged_data(plan, root) if verify else ())]:
        yield line(word, rest)
    yield f"{len(plan.batches)} batches: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def _stage_logs(plan: Plan) -> Iterator[Path]:
    """Logs of the jobs that do not belong to one batch."""
    for study in plan.studies:
        yield Path("logs", "check", plan.scale, f"{study}.log")
    yield Path("logs", "report", f"{plan.scale}.log")


def state_of(plan: Plan, batch: Batch, root: Path, verify: bool = False) -> BatchState:
    """The state of one batch; with `verify` its snapshots are read too."""
    folder = root / "results" / plan.scale / batch.folder
    try:
        if all((folder / name).exists() for name in OUTPUTS):
            return _finished(plan, batch, root, verify)
    except ResultError as error:
        return BatchState("damaged", str(error))
    log = f"logs/train/{plan.scale}/{batch.folder}.log"
    job = read_state(state_path(root / log))
    if job and job.word == "running":
        return BatchState("running", _progress(job))
    if job and job.word in ("stopped", "killed") and job.epoch is not None and (folder / "checkpoint").exists():
        where = f"; it ran{job.where}" if job.where else ""
        return BatchState("interrupted", f"at epoch {job.epoch:.0f}/{job.epochs}; the next run resumes it{where}")
    if job and job.word in ENDED_BADLY:
        return BatchState(job.word, log)
    for data in batch.data:
        fetching = f"logs/fetch/{data}.log"
        job = read_state(state_path(root / fetching))
        if job and job.word in ENDED_BADLY and not (root / "data" / data / "arrays.safetensors").exists():
            return BatchState(job.word, fetching)
    return BatchState("waiting")


def _progress(job: JobState) -> str:
    """How far a training is, in words."""
    left = "" if job.seconds_left is None else f", {job.seconds_left:.0f} s left"
    epoch = "begins" if job.epoch is None else f"epoch {job.epoch:.0f}/{job.epochs}"
    return f"{epoch}{left}{job.where}"


def _finished(plan: Plan, batch: Batch, root: Path, verify: bool) -> BatchState:
    folder = root / "results" / plan.scale / batch.folder
    reasons = [f"data: {reason}" for data in batch.data for reason in fetch_reasons(plan, data, root)]
    reasons += train_reasons(batch, folder, verify)
    if any("code of" not in reason for reason in reasons):
        return BatchState("outdated", reasons[0])
    measuring = _measuring(plan, batch, root) if batch.analyses else None
    if measuring:
        return measuring
    if reasons:  # of other code, but usable
        return BatchState("outdated", reasons[0], is_trained=True, is_measured=True)
    runs = read_manifest(folder / PROVENANCE, "train")["runs"]
    diverged = [f"seed {run['seed']}: {run['reason']}" for run in runs if run["status"] == "diverged"]
    return BatchState("diverged" if diverged else "done", "; ".join(diverged), is_trained=True, is_measured=True)


def _measuring(plan: Plan, batch: Batch, root: Path) -> BatchState | None:
    """The state of a trained batch whose measurements cannot be used; None if they can."""
    folder = root / "results" / plan.scale / batch.folder
    log = f"logs/measure/{plan.scale}/{batch.folder}.log"
    if not (folder / "measurements.parquet").exists():
        job = read_state(state_path(root / log))
        if job and job.word == "running":
            return BatchState("running", f"measuring{job.where}", is_trained=True)
        if job and job.word in ENDED_BADLY:
            return BatchState(job.word, log, is_trained=True)
        return BatchState("trained", "not yet measured", is_trained=True)
    try:
        reasons = measure_reasons(batch, folder)
    except ResultError as error:
        return BatchState("damaged", str(error), is_trained=True)
    is_usable = all("code of" in reason for reason in reasons)
    return BatchState("outdated", reasons[0], is_trained=True, is_measured=is_usable) if reasons else None


def why_lines(plan: Plan, cell: str, root: Path) -> list[str]:
    """What a re-run would redo of a cell (study/dataset/model/method) or batch, and which key or module is the reason.

    Raises:
        ConfigError: the config has no such cell.
    """
    batches = [batch for batch in plan.batches.values() if cell in (batch.cell, batch.folder)]
    if not batches:
        cells = sorted({batch.cell for batch in plan.batches.values()})
        near = get_close_matches(cell, cells, n=5, cutoff=0.5) or cells[:5]
        problem = f"no cell {cell!r} in the scale {plan.scale!r}; near it: {', '.join(near)}"
        raise ConfigError(f"{problem}. `boundcheck status` lists all. Is the --configfile of another scale missing?")
    return [line for batch in batches for line in _why_batch(plan, batch, root)]


def _why_batch(plan: Plan, batch: Batch, root: Path) -> list[str]:
    folder = root / "results" / plan.scale / batch.folder
    try:
        fetching = [reason for data in batch.data for reason in fetch_reasons(plan, data, root)]
        training = ["its dataset is fetched again"] if fetching else train_reasons(batch, folder)
        measuring = ["its training runs"] if training else measure_reasons(batch, folder)
    except ResultError as error:
        return [batch.folder, f"  damaged  {error}"]
    lines = [batch.folder, *(f"  fetch    {reason}" for reason in fetching)]
    lines += [f"  train    {reason}" for reason in training or ["up to date"]]
    if batch.analyses:
        lines += [f"  measure  {reason}" for reason in measuring or ["up to date"]]
    return [*lines, f"  check    {'its results change' if measuring else 'no reason in this cell'}"]
