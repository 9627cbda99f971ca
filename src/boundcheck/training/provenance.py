"""The provenance of a batch: what it was made from, and how each of its runs ended."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from boundcheck.cells.machine import machine
from boundcheck.cells.resolved import resolved_settings
from boundcheck.manifests import write_manifest
from boundcheck.training.loop import Loop


@dataclass(frozen=True)
class Job:
    """What a job was started with.

    Args:
        spec: all that defines the batch.
        code: version of the code that decides the result.
        modules: versions of the single modules behind `code`.
        threads: torch's threads.
        inputs: sha256 of the data files; see `cells.inputs`.
    """

    spec: Mapping[str, Any]
    code: str
    modules: Mapping[str, str]
    threads: int
    inputs: Mapping[str, str]


def write_provenance(job: Job, loops: Sequence[Loop], path: Path, outputs: Iterable[Path]) -> None:
    """Write the manifest of a batch.

    Args:
        job: what was asked for; the file holds its spec as it is, and as `resolved` with all defaults.
        loops: the finished trainings of its seeds.
        path: the file.
        outputs: what the training wrote beside it.
    """
    first = loops[0]
    provenance = {
        "spec": job.spec,
        "resolved": resolved_settings(job.spec),
        "code": job.code,
        "modules": job.modules,
        "threads": job.threads,
        "inputs": job.inputs,
        "machine": machine(),
        "versions": {"python": platform.python_version(), "platform": platform.platform()}
        | {name: version(name) for name in ("boundcheck", "torch", "numpy", "safetensors")},
        "device": torch.cuda.get_device_name() if first.stack.device.type == "cuda" else "cpu",
        "seeds_at_once": len(first.seeds),
        "channels_last": first.stack.layout.channels_last,
        "num_parameters": first.stack.num_parameters,
        "num_gradients": first.stack.method.num_gradients,
        "wall_seconds": sum(loop.wall_seconds for loop in loops),
        "cpu_seconds": sum(loop.cpu_seconds for loop in loops),
        "runs": [run for loop in loops for run in _runs(loop)],
    }
    write_manifest(path, "train", provenance, outputs)


def _runs(loop: Loop) -> list[dict[str, Any]]:
    """Status, last own step and number of restarts of each seed."""
    runs = []
    ends = zip(loop.seeds, loop.divergence.steps, loop.divergence.reasons, strict=True)
    for seed_index, (seed, step, reason) in enumerate(ends):
        status = "done" if step is None else "diverged"
        step = int(loop.steps_since_restart[seed_index]) if step is None else step
        restarts = loop.curve.num_restarts(seed_index)
        runs.append({"seed": seed, "status": status, "reason": reason, "step": step, "restarts": restarts})
    return runs
