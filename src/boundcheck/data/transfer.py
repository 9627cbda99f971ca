"""Download a file and check its md5 sum. An interrupted download is resumed."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from boundcheck.data.errors import DataError, explained

TIMEOUT_SECONDS = 30.0  # without a byte
ATTEMPTS = 5  # in a row that bring nothing new
BACKOFF_SECONDS = 1.0  # doubled after each failure
TRANSIENT = {408, 416, 425, 429}  # 416: the kept part is of no use, a fresh start may be

log = logging.getLogger(__name__)


class _AlteredError(OSError):
    """The file was received without interruption, but its md5 sum is wrong."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that two jobs never write the same file. Creates the folder if necessary."""
    with explained(folder, "choose a folder that can be written", OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def md5_of(path: Path) -> str:
    """The md5 sum of a file, in hexadecimal. It detects damage, not attacks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(
    addresses: Sequence[str],
    path: Path,
    md5: str,
    *,
    timeout: float = TIMEOUT_SECONDS,
    attempts: int = ATTEMPTS,
    backoff: float = BACKOFF_SECONDS,
) -> None:
    """Download a file to `path`, unless `path` already has this md5 sum.

    The data goes to a hidden file beside `path`. A later attempt, of this call or the next, continues that file.
    `path` is created only if the sum is right. The caller must hold the lock of the folder.

    Args:
        addresses: Addresses of the file; tried in turn.
        path: Where to store it.
        md5: Its md5 sum, in hexadecimal.
        timeout: Seconds without data after which an attempt fails.
        attempts: Give up after this number of failures in a row that received no new data.
        backoff: Seconds to wait after the first failure; doubled after each.

    Raises:
        DataError: the network, the server or the disk failed, or the sum is wrong.
    """
    if path.is_file() and md5_of(path) == md5:
        return
    part = path.with_name(f".{path.name}.part")
    remaining, errors, furthest, failures = list(addresses), {}, _size(part), 0
    while remaining and failures < attempts:
        address = remaining[failures % len(remaining)]
        try:
            _attempt(address, part, md5, timeout)
            os.replace(part, path)
            return
        except (OSError, HTTPException) as error:
            errors[address] = str(error) or type(error).__name__
            log.warning("%s: %s", address, errors[address])
            if _is_final(error):
                remaining.remove(address)
                continue
        failures = 1 if _size(part) > furthest else failures + 1
        furthest = max(furthest, _size(part))
        if failures < attempts:
            time.sleep(backoff * 2 ** (failures - 1))
    told = "; ".join(f"{address}: {error}" for address, error in errors.items())
    raise DataError(f"{told}; check the network, set `mirror`, or put the file with md5 {md5} at {path} yourself")


def _attempt(address: str, part: Path, md5: str, timeout: float) -> None:
    """Receive the missing part of the file and check its sum. If the sum is wrong, delete the file."""
    resumed_at = _size(part)
    if resumed_at and md5_of(part) == md5:
        return
    try:
        _receive(address, part, timeout)
    except HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        raise
    if (received := md5_of(part)) != md5:
        part.unlink()
        message = f"md5 is {received}, expected {md5}"
        raise OSError(f"{message} after a resume") if resumed_at else _AlteredError(message)


def _receive(address: str, part: Path, timeout: float) -> None:
    """Append the rest of the file to `part`. Start from the beginning if the server cannot resume."""
    start = _size(part)
    headers = {"User-Agent": "boundcheck"} | ({"Range": f"bytes={start}-"} if start else {})
    with urlopen(Request(address, headers=headers), timeout=timeout) as response:
        is_rest = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        expected, received = response.headers.get("Content-Length"), 0
        advice = "what was received is kept: free space there and fetch again"
        with explained(part, advice, OSError):
            file = open(part, "ab" if is_rest else "wb", buffering=0)  # noqa: SIM115
        with file:
            while block := response.read1(1 << 20):
                with explained(part, advice, OSError):
                    received += _write_all(file, block)
        if expected is not None and received < int(expected):
            raise ConnectionError(f"the server stopped after {received} of {expected} bytes")


def _write_all(file: FileIO, block: bytes) -> int:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]
    return len(block)


def _is_final(error: Exception) -> bool:
    """Whether a further attempt at the same address cannot succeed."""
    if isinstance(error, HTTPError):
        return 400 <= error.code < 500 and error.code not in TRANSIENT
    return isinstance(error, _AlteredError)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
