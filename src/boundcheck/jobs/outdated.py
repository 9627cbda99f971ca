"""Why a finished job would run again: what it was made from differs from what it would be made from now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boundcheck.manifests import (
    MEASURE_PROVENANCE,
    PROVENANCE,
    ResultError,
    Stage,
    made_again,
    read_manifest,
    verify,
)
from boundcheck.planning.code_version import reached_from
from boundcheck.planning.fetches import data_name
from boundcheck.planning.job_code import fetch_modules, measure_modules, train_modules
from boundcheck.planning.plan import Batch, Plan

OUTPUTS = ("curves.parquet", "snapshots", "provenance.json")


def fetch_reasons(plan: Plan, data: str, root: Path) -> list[str]:
    """Why the existing arrays below data/<data> would be fetched again; empty if they would not."""
    path = root / "data" / data / "provenance.json"
    if not path.exists():
        return []
    provenance = read_manifest(path, "fetch", output=path.with_name("arrays.safetensors"))
    if data_name(provenance["spec"]) != data:
        problem = f"of another dataset ({data_name(provenance['spec'])})"
        raise ResultError(made_again(path, problem, path.with_name("arrays.safetensors")))
    spec = plan.fetch_spec(data)
    reasons = _differences(provenance, spec, fetch_modules(spec))
    if not reasons and provenance["source"] != plan.source_state(data):
        reasons.append(f"{spec.get('path', 'its source')} has changed")
    return reasons


def train_reasons(batch: Batch, folder: Path, read_snapshots: bool = False) -> list[str]:
    """Why a batch would be trained (again); empty if it would not."""
    missing = [f"missing {name}" for name in OUTPUTS if not (folder / name).exists()]
    if missing:
        return missing
    manifest = _verified(folder / PROVENANCE, "train", batch, read_snapshots)
    return _differences(manifest, batch.train, train_modules(batch.train))


def measure_reasons(batch: Batch, folder: Path) -> list[str]:
    """Why a batch would be measured (again), apart from its training; empty if it would not."""
    path = folder / "measurements.parquet"
    if not batch.analyses:
        return []
    if not path.exists():
        return ["missing measurements.parquet"]
    spec = {**batch.train, "analyses": list(batch.analyses)}
    return _differences(_verified(folder / MEASURE_PROVENANCE, "measure", batch), spec, measure_modules(spec))


def _verified(path: Path, stage: Stage, batch: Batch, read_snapshots: bool = False) -> dict[str, Any]:
    """The manifest of a batch, whose files are whole.

    Args:
        path: the manifest.
        stage: train or measure.
        batch: the batch that it should be of.
        read_snapshots: whether snapshots are read; otherwise it is enough that they are there.

    Raises:
        ResultError: the manifest or one of its files is missing, damaged, or of another batch.
    """
    manifest = read_manifest(path, stage)
    spec = manifest["spec"]
    made_for = [*(spec[part]["name"] for part in ("dataset", "model", "method")), *spec["seeds"]]
    if made_for != [batch.dataset, batch.model, batch.method, *batch.seeds]:
        raise ResultError(made_again(path, f"of another batch ({'/'.join(map(str, made_for))})"))
    for name in manifest["files"]:
        file = path.parent / name
        if read_snapshots or Path(name).parent == Path():
            verify(file, manifest, path.parent)
        elif not file.is_file():
            raise ResultError(made_again(file, "does not exist", path.parent / Path(name).parts[0]))
    return manifest


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
