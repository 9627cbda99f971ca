"""Train one batch: one method on one model and dataset, several seeds. Resumable at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from boundcheck import tables
from boundcheck.cells.cell import PRECISIONS, build_method, build_network, load_splits
from boundcheck.cells.resource_errors import shortages_named
from boundcheck.contracts import Splits
from boundcheck.data.arrays import arrays_digest
from boundcheck.models import MODELS
from boundcheck.registry import load
from boundcheck.training.loop import Loop
from boundcheck.training.provenance import write_provenance
from boundcheck.training.recorders import Recorders
from boundcheck.training.restarts import takes_slice_rates
from boundcheck.training.resumable import TrainingInterrupted, run
from boundcheck.training.snapshots import write_snapshots
from boundcheck.training.stopping import stop_requests

__all__ = ["TrainingInterrupted", "train"]


def train(
    spec: Mapping[str, Any],
    arrays: Path,
    output: Path,
    code: str = "",
    modules: Mapping[str, str] | None = None,
    threads: int = 1,
    checkpoint_seconds: float = 60,
) -> None:
    """Train a batch and write `curves.parquet`, `snapshots/` and `provenance.json` into `output`.

    The state on the way is in `output/checkpoint/`, written every `checkpoint_seconds` and on SIGTERM or SIGINT; the
    same call resumes from it, and it goes when the outputs are in place.

    Args:
        spec: dataset, model, method (variants with their names), seeds, training, snapshots, record.
        arrays: the dataset's array file.
        output: the batch's folder.
        code: version of the code that decides the result; a checkpoint of another one is not resumed.
        modules: versions of the single modules behind `code`, for the provenance.
        threads: torch's threads; part of what makes a result repeatable.
        checkpoint_seconds: time between checkpoints, seconds.

    Raises:
        TrainingInterrupted: the job was asked to stop, or its Snakemake was killed; its state is on disk.
        MemoryError: memory ran out; the message names the cell and what to lower.
        OSError: the disk is full; what was written before stays, and the same call resumes.
    """
    job = {"code": code, "modules": dict(modules or {}), "threads": threads}
    with shortages_named(spec, "training.batch_size or seeds_per_job"):
        _train(spec, arrays, output, job, checkpoint_seconds)


def _train(
    spec: Mapping[str, Any], arrays: Path, output: Path, job: Mapping[str, Any], checkpoint_seconds: float
) -> None:
    torch.set_num_threads(job["threads"])
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32; for speed there is bfloat16
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if spec["training"]["deterministic"]:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_deterministic_debug_mode("warn")
    splits, floats = load_splits(spec["dataset"], arrays, device, PRECISIONS[spec["training"]["precision"]])
    folder, done = output / "checkpoint", output / ".checkpoint.done"
    shutil.rmtree(done, ignore_errors=True)
    identity = _identity(spec, arrays, job["code"], device, job["threads"])
    stacks = _stacks(spec, splits)
    parts = [folder / f"part_{number}" for number in range(len(stacks))]
    loops = []
    with stop_requests() as should_stop:
        for number, (seeds, part) in enumerate(zip(stacks, parts, strict=True), start=1):
            loop = Loop(spec, seeds, splits, floats, device)
            print(f"seeds {seeds} on {device}: {loop.networks.num_parameters} parameters", flush=True)
            run(loop, part, identity, should_stop, checkpoint_seconds, len(stacks) - number)
            loops.append(loop)
    _write_curves(loops, output / "curves.parquet")
    _write_snapshots(loops, parts, spec["snapshots"], output / "snapshots")
    write_provenance({"spec": spec, **job}, loops, output / "provenance.json")
    folder.rename(done)  # at once: a part of a checkpoint must never look like a whole one
    shutil.rmtree(done)


def _stacks(spec: Mapping[str, Any], splits: Splits) -> list[list[int]]:
    """All seeds at once where model and method can do it, else one after another."""
    seeds = list(spec["seeds"])
    at_once = load(MODELS, spec["model"]["kind"]).stackable
    if at_once and Recorders(spec["record"]).may_restart:
        net = build_network(spec, splits, seeds[0])
        at_once = takes_slice_rates(build_method(spec).optimizer(net))
    return [seeds] if at_once else [[seed] for seed in seeds]


def _identity(spec: Mapping[str, Any], arrays: Path, code: str, device: str, threads: int) -> str:
    """A hash of all that a training must share with the one that it resumes."""
    teacher = spec["training"].get("teacher")
    data = [arrays_digest(file) for file in (arrays, *([Path(teacher["file"])] if teacher else []))]
    what = json.dumps([spec, data, code, device, threads, torch.__version__, platform.machine()], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def _write_curves(loops: Sequence[Loop], path: Path) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in tables.TIDY.names}
    for loop in loops:
        for name, values in loop.curve.columns(loop.divergence.steps).items():
            columns[name] += values
    tables.write(columns, tables.TIDY, path)


def _write_snapshots(loops: Sequence[Loop], parts: Sequence[Path], epochs: Sequence[int], path: Path) -> None:
    files = {
        epoch: [file for loop, part in zip(loops, parts, strict=True) for file in loop.snapshot_files(part, epoch)]
        for epoch in epochs
    }
    write_snapshots(files, [loop.recorders.arrays(len(loop.seeds)) for loop in loops], path)
