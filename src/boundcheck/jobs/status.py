"""The state of every batch, and what a re-run would redo and why; read from the results on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from boundcheck.jobs.job_state import JobState, read_state, state_path
from boundcheck.manifests import (
    MEASURE_PROVENANCE,
    PROVENANCE,
    ResultError,
    made_again,
    read_manifest,
    verify,
)
from boundcheck.planning.code_version import reached_from
from boundcheck.planning.config import ConfigError
from boundcheck.planning.job_code import fetch_modules, measure_modules, train_modules
from boundcheck.planning.plan import Batch, Plan

ENDED_BADLY = ("failed", "killed")
OUTPUTS = ("curves.parquet", "snapshots", "provenance.json")


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


def status_lines(plan: Plan, root: Path) -> Iterator[str]:
    """One line per batch of the plan with its state; then the skipped cells, unfinished stages, and the counts.

    States: `waiting`; `running` with epoch and time left, or measuring; `interrupted` (the next run resumes it);
    `failed`, or `killed` without a word, with its log; `trained` but not yet measured; `done`; `diverged` with the
    seeds; `outdated`: finished, but with other settings or code; `damaged` with the file.
    """
    counts: dict[str, int] = {}

    def line(word: str, rest: str) -> str:
        counts[word] = counts.get(word, 0) + 1
        return f"{word:<12} {rest}"

    for batch in plan.batches.values():
        state = state_of(plan, batch, root)
        yield line(state.word, f"{batch.folder}{f'  {state.detail}' if state.detail else ''}")
    for study, cells in plan.skipped.items():
        for cell in cells:
            name = f"{study}/{cell['dataset']}/{cell['model']}/{cell['method']}"
            yield line("skipped", f"{name}  {cell['reason']}")
    for log in _stage_logs(plan):
        job = read_state(state_path(root / log))
        if job and job.word in (*ENDED_BADLY, "running"):
            yield line(job.word, f"{log.parts[1]} of {log.stem}  {log}")
    yield f"{len(plan.batches)} batches: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def _stage_logs(plan: Plan) -> Iterator[Path]:
    """Logs of the jobs that do not belong to one batch."""
    for study in plan.studies:
        yield Path("logs", "check", plan.scale, f"{study}.log")
    yield Path("logs", "report", f"{plan.scale}.log")


def state_of(plan: Plan, batch: Batch, root: Path) -> BatchState:
    """The state of one batch."""
    folder = root / "results" / plan.scale / batch.folder
    try:
        if all((folder / name).exists() for name in OUTPUTS):
            return _finished(plan, batch, root)
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


def _finished(plan: Plan, batch: Batch, root: Path) -> BatchState:
    folder = root / "results" / plan.scale / batch.folder
    reasons = [f"data: {reason}" for data in batch.data for reason in fetch_reasons(plan, data, root)]
    if reasons := reasons or train_reasons(batch, folder):
        return BatchState("outdated", reasons[0])
    measuring = _measuring(plan, batch, root) if batch.analyses else None
    if measuring:
        return measuring
    runs = read_manifest(folder / PROVENANCE)["runs"]
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
    return BatchState("outdated", reasons[0], is_trained=True) if reasons else None


def _verified(path: Path) -> dict[str, Any]:
    """A manifest whose files are whole. Of snapshots, which may be large, it is enough that they are there.

    Raises:
        ResultError: the manifest or one of its files is missing or damaged.
    """
    manifest = read_manifest(path)
    for name in manifest["files"]:
        file = path.parent / name
        if Path(name).parent == Path():
            verify(file, manifest, path.parent)
        elif not file.is_file():
            raise ResultError(made_again(file, "does not exist", path.parent / Path(name).parts[0]))
    return manifest


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


def fetch_reasons(plan: Plan, data: str, root: Path) -> list[str]:
    """Why the existing arrays below data/<data> would be fetched again; empty if they would not."""
    path = root / "data" / data / "provenance.json"
    if not path.exists():
        return []
    provenance = read_manifest(path)
    spec = plan.fetch_spec(data)
    reasons = _differences(provenance, spec, fetch_modules(spec))
    if not reasons and provenance["source"] != plan.source_state(data):
        reasons.append(f"{spec.get('path', 'its source')} has changed")
    return reasons


def train_reasons(batch: Batch, folder: Path) -> list[str]:
    """Why a batch would be trained (again); empty if it would not."""
    missing = [f"missing {name}" for name in OUTPUTS if not (folder / name).exists()]
    if missing:
        return missing
    return _differences(_verified(folder / PROVENANCE), batch.train, train_modules(batch.train))


def measure_reasons(batch: Batch, folder: Path) -> list[str]:
    """Why a batch would be measured (again), apart from its training; empty if it would not."""
    path = folder / "measurements.parquet"
    if not batch.analyses:
        return []
    if not path.exists():
        return ["missing measurements.parquet"]
    spec = {**batch.train, "analyses": list(batch.analyses)}
    return _differences(_verified(folder / MEASURE_PROVENANCE), spec, measure_modules(spec))


def _differences(job: Mapping[str, Any], spec: Mapping[str, Any], modules: list[str]) -> list[str]:
    old, new = _flat(job["spec"]), _flat(json.loads(json.dumps(spec)))
    reasons = [
        f"{key}: was {old.get(key, 'not set')}, is {new.get(key, 'not set')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    known, current = job["modules"], reached_from(*modules)
    changed = sorted(name for name in known.keys() | current.keys() if known.get(name) != current.get(name))
    return reasons + [f"code of {name} changed" for name in changed]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as {dotted key: value}. A list of named variants is treated as a mapping by name."""
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) and "name" in entry for entry in value):
        value = {entry["name"]: {k: v for k, v in entry.items() if k != "name"} for entry in value}
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        flat |= _flat(entry, f"{prefix}.{key}" if prefix else str(key))
    return flat
