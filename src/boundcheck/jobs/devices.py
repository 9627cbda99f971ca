"""The GPUs that this process may use, and a lease on one of them. It needs no torch, so that rules can import it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


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
    machine respect it; jobs of other users do not see it. If only one GPU is visible (a cluster has chosen it), or
    none, nothing is locked or changed.

    Args:
        poll_seconds: time between two attempts while all GPUs are held, seconds.

    Yields:
        The identifier of the GPU; None if none is visible.

    Raises:
        OSError: the files of the locks cannot be made; the message names them.
    """
    gpus = visible_gpus()
    if len(gpus) < 2 or fcntl is None:
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
    folder = _own_folder(Path(tempfile.gettempdir()))
    began, is_waiting = time.monotonic(), False
    try:
        while True:
            for gpu in gpus:
                descriptor = _locked(folder, f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.lock")  # a slice's name has slashes
                if descriptor is not None:
                    if is_waiting:
                        print(f"waited {time.monotonic() - began:.0f} s for a GPU", flush=True)
                    return gpu, descriptor
            if not is_waiting:
                print(f"waiting for one of the GPUs {', '.join(gpus)}: other jobs of this user hold them", flush=True)
                is_waiting = True
            time.sleep(poll_seconds)
    finally:
        os.close(folder)


def _own_folder(parent: Path) -> int:
    """Open the folder of this user's locks in a folder that all users share; made where it is missing.

    A folder that another user owns or may write to, or a link, is passed over, and the next name is tried: so nobody
    can block the jobs of another user, or redirect what they write.
    """
    names = [f"boundcheck-gpus-{os.getuid()}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 100)))]
    for name in names:
        with contextlib.suppress(FileExistsError):
            os.mkdir(parent / name, 0o700)
        try:
            descriptor = os.open(parent / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # a link, a file, or closed to this user
            continue
        status = os.fstat(descriptor)
        if status.st_uid == os.getuid() and not status.st_mode & 0o022:
            return descriptor
        os.close(descriptor)
    raise OSError(f"{parent / names[0]}: not a folder that only this user can write to; remove it, or set TMPDIR")


def _locked(folder: int, name: str) -> int | None:
    """The open file, locked; None if another process holds its lock. Links are not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
