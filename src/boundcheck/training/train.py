"""Train one batch: one method on one model and dataset, several seeds. It can stop and resume at any moment."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from boundcheck import tables
from boundcheck.cells.cell import Cell
from boundcheck.cells.examples import Examples, load_examples, prepared_device
from boundcheck.cells.inputs import data_digests
from boundcheck.cells.machine import machine
from boundcheck.cells.networks import build_network
from boundcheck.cells.resource_errors import explained_resource_errors
from boundcheck.cells.trainable import refuse_untrainable, remarks
from boundcheck.manifests import PROVENANCE, digest_of
from boundcheck.training.loop import Loop
from boundcheck.training.provenance import Job, write_provenance
from boundcheck.training.recorders import Recorders
from boundcheck.training.restarts import takes_slice_rates
from boundcheck.training.resumable import Progress, run
from boundcheck.training.snapshots import write_snapshots
from boundcheck.training.stopping import TrainingInterrupted, stop_requests

__all__ = ["TrainingInterrupted", "train"]


def train(
    spec: Mapping[str, Any],
    arrays: Path,
    output: Path,
    code: str = "",
    modules: Mapping[str, str] | None = None,
    threads: int = 1,
    checkpoint_seconds: float = 60,
    tell_progress: Progress = lambda epoch, epochs, seconds_left: None,
) -> None:
    """Train a batch and write `curves.parquet`, `snapshots/` and `provenance.json` into `output`.

    While it trains, its state is in `output/checkpoint/`, written every `checkpoint_seconds` and on SIGTERM or SIGINT.
    The same call resumes from it. It is deleted when the outputs are in place.

    Args:
        spec: dataset, model, method (variants with their names), seeds, training, snapshots, record.
        arrays: the dataset's array file.
        output: the batch's folder.
        code: version of the code that decides the result; a checkpoint of another version is not resumed.
        modules: versions of the single modules behind `code`, for the provenance.
        threads: torch's threads; part of what makes a result repeatable.
        checkpoint_seconds: time between checkpoints, seconds.
        tell_progress: is told the epoch, the last epoch and an estimate of the seconds left.

    Raises:
        TrainingInterrupted: the job was asked to stop, or its Snakemake was killed; its state is on disk.
        MemoryError: memory ran out; the message names the cell and what to lower.
        OSError: the disk is full; what was written before stays, and the same call resumes.
        ResultError: the data is damaged, or of another dataset than the spec names.
    """
    cell = Cell.from_spec(spec)
    job = Job(spec, code, dict(modules or {}), threads, data_digests(spec, arrays))
    with explained_resource_errors(cell.names, "training.batch_size or seeds_per_job"):
        _train(cell, job, arrays, output, checkpoint_seconds, tell_progress)


def _train(
    cell: Cell, job: Job, arrays: Path, output: Path, checkpoint_seconds: float, tell_progress: Progress
) -> None:
    device = prepared_device(job.threads)
    if cell.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_deterministic_debug_mode("warn")
    examples = load_examples(cell, arrays, device)
    refuse_untrainable(cell, examples.splits)
    for remark in remarks(cell, examples.splits):
        print(remark, flush=True)
    folder, done = output / "checkpoint", output / ".checkpoint.done"
    shutil.rmtree(done, ignore_errors=True)
    identity = _identity(job, device)
    stacks = _stacks(cell, examples)
    parts = [folder / f"part_{number}" for number in range(len(stacks))]
    loops = []
    with stop_requests() as should_stop:
        for number, (seeds, part) in enumerate(zip(stacks, parts, strict=True), start=1):
            loop = Loop(cell, seeds, examples)
            print(f"seeds {seeds} on {device}: {loop.stack.num_parameters} parameters", flush=True)
            run(loop, part, identity, should_stop, checkpoint_seconds, len(stacks) - number, tell_progress)
            loops.append(loop)
    curves, snapshots = output / "curves.parquet", output / "snapshots"
    _write_curves(loops, curves)
    _write_snapshots(loops, parts, cell.snapshots, snapshots)
    write_provenance(job, loops, output / PROVENANCE, [curves, snapshots])
    folder.rename(done)  # at once: a part of a checkpoint must never look like a whole one
    shutil.rmtree(done)


def _stacks(cell: Cell, examples: Examples) -> list[list[int]]:
    """The seeds that train at once: all of them where model and method can do it, else one after another."""
    at_once = cell.model.stackable
    if at_once and Recorders(cell.new_callbacks()).may_restart:
        network = build_network(cell, examples.splits, cell.seeds[0])
        at_once = takes_slice_rates(cell.method.optimizer(network))
    return [list(cell.seeds)] if at_once else [[seed] for seed in cell.seeds]


def _identity(job: Job, device: torch.device) -> dict[str, str]:
    """All that a training must share with the one that it resumes; the same bits need the same of everything."""
    return {
        "settings": digest_of(job.spec),
        "data": digest_of(job.inputs),
        "code": job.code,
        "device": device.type,
        "threads": str(job.threads),
        **machine(),
    }


def _write_curves(loops: Sequence[Loop], path: Path) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in tables.TIDY.names}
    for loop in loops:
        for name, values in loop.curve.columns(loop.divergence.steps).items():
            columns[name] += values
    tables.write(columns, tables.TIDY, path)


def _write_snapshots(loops: Sequence[Loop], parts: Sequence[Path], epochs: Sequence[int], path: Path) -> None:
    files: dict[int, list[Path]] = {epoch: [] for epoch in epochs}
    for epoch in epochs:
        for loop, part in zip(loops, parts, strict=True):
            _refuse_removed(loop, part, epoch)
            files[epoch] += loop.snapshot_files(part, epoch)
    write_snapshots(files, [loop.recorders.arrays(len(loop.seeds)) for loop in loops], path)


def _refuse_removed(loop: Loop, part: Path, epoch: int) -> None:
    """Raise an error if a snapshot is missing although a seed came so far. Without a checkpoint it is made again."""
    ends = loop.divergence.steps
    came_so_far = [end is None or end >= epoch * loop.batches.num_batches for end in ends]
    files = loop.snapshot_files(part, epoch)
    for file, is_due in zip(files, came_so_far if loop.may_restart else [any(came_so_far)], strict=True):
        if is_due and not file.exists():
            shutil.rmtree(part.parent, ignore_errors=True)
            problem = "removed while the training ran; the same command trains again from the beginning"
            raise FileNotFoundError(errno.ENOENT, problem, str(file))
