"""The state of every batch, and what a re-run would redo and why; read from the results on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from boundcheck.manifests import MEASURE_PROVENANCE, read_manifest
from boundcheck.planning.code_version import reached_from
from boundcheck.planning.config import ConfigError
from boundcheck.planning.job_code import fetch_modules, measure_modules, train_modules
from boundcheck.planning.plan import Batch, Plan
from boundcheck.training.progress import read_progress

OUTPUTS = ("curves.parquet", "snapshots", "provenance.json")


def status_lines(plan: Plan, root: Path) -> Iterator[str]:
    """One line per batch of the plan with its state; then the skipped cells, failed stages, and the counts.

    States: `waiting`; `running` with epoch and time left; `interrupted` (the next run resumes it); `failed` with its
    log; `trained` but not yet measured; `done`; `diverged` with the seeds; `outdated`: finished, but with other
    settings or code.
    """
    counts: dict[str, int] = {}
    for batch in plan.batches.values():
        state, detail = state_of(plan, batch, root)
        counts[state] = counts.get(state, 0) + 1
        yield f"{state:<12} {batch.folder}{f'  {detail}' if detail else ''}"
    for study, cells in plan.skipped.items():
        for cell in cells:
            counts["skipped"] = counts.get("skipped", 0) + 1
            yield f"{'skipped':<12} {study}/{cell['dataset']}/{cell['model']}/{cell['method']}  {cell['reason']}"
    for log in _stage_logs(plan):
        if _failed(root / log):
            counts["failed"] = counts.get("failed", 0) + 1
            yield f"{'failed':<12} {log.parts[1]} of {log.stem}  {log}"
    yield f"{len(plan.batches)} batches: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def _stage_logs(plan: Plan) -> Iterator[Path]:
    """Logs of the jobs that do not belong to one batch."""
    for study in plan.studies:
        yield Path("logs", "check", plan.scale, f"{study}.log")
    yield Path("logs", "report", f"{plan.scale}.log")


def state_of(plan: Plan, batch: Batch, root: Path) -> tuple[str, str]:
    """The state of one batch, and a detail in words (such as its log)."""
    folder = root / "results" / plan.scale / batch.folder
    if all((folder / name).exists() for name in OUTPUTS):
        return _finished(plan, batch, root)
    progress = read_progress(folder / "checkpoint")
    log = root / "logs" / "train" / plan.scale / f"{batch.folder}.log"
    is_elsewhere = progress is not None and progress["is_alive"] is None  # on another machine, which cannot be asked
    if progress is not None and progress["is_alive"] is not False and not (is_elsewhere and _failed(log)):
        heard = f", last heard of {_duration(time.time() - progress['time'])} ago"
        where = "" if progress["is_alive"] else f" on {progress['host']}{heard}"
        seconds = progress["seconds_left"]
        left = "" if seconds is None else f", {seconds:.0f} s left"
        return "running", f"epoch {progress['epoch']:.0f}/{progress['epochs']}{left}{where}"
    if _failed(log):
        return "failed", str(log.relative_to(root))
    if progress is not None:
        return "interrupted", f"at epoch {progress['epoch']:.0f}/{progress['epochs']}; the next run resumes it"
    if log.exists():
        return "failed", str(log.relative_to(root))
    for data in batch.data:
        arrays, fetching = root / "data" / data / "arrays.safetensors", f"logs/fetch/{data}.log"
        if not arrays.exists() and _failed(root / fetching):
            return "failed", fetching
    return "waiting", ""


def _duration(seconds: float) -> str:
    """A duration in words, in the largest unit that gives at least two."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _finished(plan: Plan, batch: Batch, root: Path) -> tuple[str, str]:
    folder = root / "results" / plan.scale / batch.folder
    is_measured = not batch.analyses or (folder / "measurements.parquet").exists()
    reasons = [f"data: {reason}" for data in batch.data for reason in fetch_reasons(plan, data, root)]
    reasons = reasons or train_reasons(batch, folder) or (measure_reasons(batch, folder) if is_measured else [])
    if reasons:
        return "outdated", reasons[0]
    measuring = f"logs/measure/{plan.scale}/{batch.folder}.log"
    if not is_measured and _failed(root / measuring):
        return "failed", measuring
    runs = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["runs"]
    diverged = [f"seed {run['seed']}: {run['reason']}" for run in runs if run["status"] == "diverged"]
    if diverged:
        return "diverged", "; ".join(diverged)
    return ("done", "") if is_measured else ("trained", "not yet measured")


def _failed(log: Path) -> bool:
    """Whether the log exists and its last line is an error."""
    if not log.exists():
        return False
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    return bool(lines) and (lines[-1].startswith("boundcheck ") or "Error" in lines[-1])


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
    lines = []
    for batch in batches:
        folder = root / "results" / plan.scale / batch.folder
        fetching = [reason for data in batch.data for reason in fetch_reasons(plan, data, root)]
        training = ["its dataset is fetched again"] if fetching else train_reasons(batch, folder)
        measuring = ["its training runs"] if training else measure_reasons(batch, folder)
        lines.append(batch.folder)
        lines += [f"  fetch    {reason}" for reason in fetching]
        lines += [f"  train    {reason}" for reason in training or ["up to date"]]
        if batch.analyses:
            lines += [f"  measure  {reason}" for reason in measuring or ["up to date"]]
        lines.append(f"  check    {'its results change' if measuring else 'no reason in this cell'}")
    return lines


def fetch_reasons(plan: Plan, data: str, root: Path) -> list[str]:
    """Why the existing arrays below data/<data> would be fetched again; empty if they would not."""
    path = root / "data" / data / "provenance.json"
    if not path.exists():
        return []
    provenance = json.loads(path.read_text(encoding="utf-8"))
    if not {"spec", "modules", "source"} <= provenance.keys():
        return ["its arrays are of an older version"]
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
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return _differences(provenance, batch.train, train_modules(batch.train))


def measure_reasons(batch: Batch, folder: Path) -> list[str]:
    """Why a batch would be measured (again), apart from its training; empty if it would not."""
    path = folder / "measurements.parquet"
    if not batch.analyses:
        return []
    if not path.exists():
        return ["missing measurements.parquet"]
    spec = {**batch.train, "analyses": list(batch.analyses)}
    return _differences(read_manifest(folder / MEASURE_PROVENANCE), spec, measure_modules(spec))


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
