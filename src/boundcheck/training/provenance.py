"""What a training was made from, and how each of its runs ended."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from boundcheck.atomic_files import write_text
from boundcheck.training.loop import Loop


def write_provenance(job: Mapping[str, Any], loops: Sequence[Loop], path: Path) -> None:
    """Write the JSON file of a batch, whole or not at all.

    Args:
        job: `spec`, `code`, `modules` and `threads` of the job.
        loops: the finished trainings of its seeds.
        path: the file.
    """
    first = loops[0]
    provenance = {
        **job,
        "versions": {"python": platform.python_version(), "platform": platform.platform()}
        | {name: version(name) for name in ("boundcheck", "torch", "numpy", "safetensors")},
        "device": torch.cuda.get_device_name() if first.networks.device.type == "cuda" else "cpu",
        "seeds_at_once": len(first.seeds),
        "channels_last": first.networks.layout.channels_last,
        "num_parameters": first.networks.num_parameters,
        "num_gradients": first.networks.method.num_gradients,
        "wall_seconds": sum(loop.wall_seconds for loop in loops),
        "cpu_seconds": sum(loop.cpu_seconds for loop in loops),
        "runs": [run for loop in loops for run in _runs(loop)],
    }
    write_text(json.dumps(provenance, indent=1, sort_keys=True) + "\n", path)


def _runs(loop: Loop) -> list[dict[str, Any]]:
    """Status, last own step and number of restarts of each seed."""
    runs = []
    ends = zip(loop.seeds, loop.divergence.steps, loop.divergence.reasons, strict=True)
    for place, (seed, step, reason) in enumerate(ends):
        status = "done" if step is None else "diverged"
        step = int(loop.steps_since_restart[place]) if step is None else step
        restarts = loop.curve.num_restarts(place)
        runs.append({"seed": seed, "status": status, "reason": reason, "step": step, "restarts": restarts})
    return runs
