"""The GPUs that this process may use, and a lease on one of them. It needs no torch, so that rules can import it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


def visible_gpus() -> list[str]:
    """Identifiers of the visible GPUs: from CUDA_VISIBLE_DEVICES if it is set, else from `nvidia-smi -L`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        devices = [device.strip() for device in visible.split(",")]
        return [device for device in devices if device and device != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(number) for number, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]


def num_gpus() -> int:
    """The number of visible GPUs."""
    return len(visible_gpus())


@contextlib.contextmanager
def leased_gpu(poll_seconds: float = 0.2) -> Iterator[str | None]:
    """Reserve one of the visible GPUs and set CUDA_VISIBLE_DEVICES to it. Enter this before CUDA is initialised.

    The lease is a file lock, so it ends with the process, even if the process is killed. All jobs of this user on this
    machine respect it. If only one GPU is visible (a cluster has chosen it), or none, nothing is locked or changed.

    Args:
        poll_seconds: time between two attempts while all GPUs are held, seconds.

    Yields:
        The identifier of the GPU; None if none is visible.
    """
    gpus = visible_gpus()
    if len(gpus) < 2:
        if gpus:
            print(f"GPU {gpus[0]}", flush=True)
        yield gpus[0] if gpus else None
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpu, descriptor = _wait_for_one(gpus, poll_seconds)
    print(f"GPU {gpu} of {', '.join(gpus)}", flush=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        yield gpu
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
        os.close(descriptor)


def _wait_for_one(gpus: Sequence[str], poll_seconds: float) -> tuple[str, int]:
    """Wait for the first free GPU; returns it and the open file that locks it."""
    folder = Path(tempfile.gettempdir()) / f"boundcheck-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    is_waiting = False
    while True:
        for gpu in gpus:
            path = folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.lock"  # the name of a slice of a GPU has slashes
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return gpu, descriptor
        if not is_waiting:
            print(f"waiting for one of the GPUs {', '.join(gpus)}", flush=True)
            is_waiting = True
        time.sleep(poll_seconds)
