"""Train one batch: one method on one model and dataset, several seeds. Resumable at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from boundcheck import tables
from boundcheck.contracts import Splits
from boundcheck.models import MODELS
from boundcheck.registry import load
from boundcheck.stages.cell import PRECISIONS, Floats, load_splits
from boundcheck.stages.loop import Loop, TrainingInterrupted

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
        TrainingInterrupted: a signal asked the job to stop; its state is on disk.
    """
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if spec["training"]["deterministic"]:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    splits, floats = load_splits(spec["dataset"], arrays, device, PRECISIONS[spec["training"]["precision"]])
    folder = output / "checkpoint"
    identity = _identity(spec, code, device, threads)
    loops = []
    with _stop_on_signal() as should_stop:
        for number, seeds in enumerate(_stacks(spec)):
            loop = _new_loop(spec, seeds, splits, floats, device)
            print(f"seeds {seeds} on {device}: {_count(loop)} parameters", flush=True)
            loop.run(folder / f"part_{number}", identity, should_stop, checkpoint_seconds)
            loops.append(loop)
    _write_curves(loops, output / "curves.parquet")
    _write_snapshots(loops, folder, spec["snapshots"], output / "snapshots")
    job = {"spec": spec, "code": code, "modules": dict(modules or {}), "threads": threads}
    _write_provenance(job, device, loops, output / "provenance.json")
    shutil.rmtree(folder)


def _stacks(spec: Mapping[str, Any]) -> list[list[int]]:
    """All seeds at once where the model can be stacked, else one after another."""
    seeds = list(spec["seeds"])
    return [seeds] if load(MODELS, spec["model"]["kind"]).stackable else [[seed] for seed in seeds]


def _new_loop(spec: Mapping[str, Any], seeds: list[int], splits: Splits, floats: Floats, device: str) -> Loop:
    try:
        return Loop(spec, seeds, splits, floats, device)
    except torch.OutOfMemoryError as error:
        cell = "/".join(spec[key]["name"] for key in ("dataset", "model", "method"))
        raise MemoryError(f"{cell}: out of memory; lower training.batch_size or seeds_per_job") from error


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT came meanwhile; only a main thread can tell."""
    asked: list[int] = []
    old = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            old[number] = signal.signal(number, lambda received, _: asked.append(received))
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _identity(spec: Mapping[str, Any], code: str, device: str, threads: int) -> str:
    what = json.dumps([spec, code, device, threads, torch.__version__, platform.machine()], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def _count(loop: Loop) -> int:
    return sum(p.numel() for p in loop.model.parameters()) // len(loop.seeds)


def _write_curves(loops: Sequence[Loop], path: Path) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in tables.TIDY.names}
    for loop in loops:
        for name, values in loop.curve.columns(loop.diverged).items():
            columns[name] += values
    tables.write(columns, tables.TIDY, path)


def _write_snapshots(loops: Sequence[Loop], folder: Path, epochs: Sequence[int], path: Path) -> None:
    """Join the parts' snapshots along the seeds; a seed that diverged before an epoch is NaN there."""
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for epoch in epochs:
        files = [folder / f"part_{number}" / f"epoch_{epoch}.safetensors" for number in range(len(loops))]
        parts = [load_file(file) if file.exists() else None for file in files]
        known = next((part for part in parts if part is not None), None)
        if known is None:
            continue
        blank = {name: _blank(value) for name, value in known.items()}
        joined = {name: torch.cat([(part or blank)[name] for part in parts]) for name in known}
        save_file(joined, temporary / f"epoch_{epoch}.safetensors")
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def _blank(value: torch.Tensor) -> torch.Tensor:
    return torch.full_like(value, float("nan")) if value.is_floating_point() else torch.zeros_like(value)


def _write_provenance(job: Mapping[str, Any], device: str, loops: Sequence[Loop], path: Path) -> None:
    runs = []
    for loop in loops:
        for seed, step, reason in zip(loop.seeds, loop.diverged, loop.reasons, strict=True):
            status = "done" if step is None else "diverged"
            runs.append({"seed": seed, "status": status, "reason": reason, "step": loop.step if step is None else step})
    provenance = {
        **job,
        "versions": {"python": platform.python_version(), "platform": platform.platform()}
        | {name: version(name) for name in ("boundcheck", "torch", "numpy", "safetensors")},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "seeds_at_once": len(loops[0].seeds),
        "channels_last": loops[0].channels_last,
        "num_parameters": _count(loops[0]),
        "num_gradients": loops[0].method.num_gradients,
        "wall_seconds": sum(loop.wall_seconds for loop in loops),
        "cpu_seconds": sum(loop.cpu_seconds for loop in loops),
        "runs": runs,
    }
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(provenance, indent=1, sort_keys=True) + "\n")
    temporary.replace(path)
