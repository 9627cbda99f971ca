"""Which GPUs this process may use, found without torch so that a rule file can ask."""

from __future__ import annotations

import os
import shutil
import subprocess


def visible_gpus() -> list[str]:
    """Identifiers of the visible GPUs: CUDA_VISIBLE_DEVICES where it is set, else what `nvidia-smi -L` lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device.strip() and device.strip() != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(number) for number, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]


def num_gpus() -> int:
    """How many GPUs are visible."""
    return len(visible_gpus())
