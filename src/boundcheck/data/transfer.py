"""Getting a file from the network: whole and checked, or a clear error; an interrupted transfer is resumed."""

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
    """What was received in one piece is not the file that was asked for."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder (made if it is not there), so that two jobs never write the same file."""
    with explained(folder, "choose a folder that can be written", OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def md5_of(path: Path) -> str:
    """The md5 sum of a file, in hexadecimal; it guards against damage, not against malice."""
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
    """Make `path` the file with this md5 sum, unless it is already.

    Bytes go to a hidden file beside it, which a later attempt (of this call or the next) resumes where it ends; `path`
    itself appears only when the sum is right. The caller holds the lock of the folder.

    Args:
        addresses: Where the file lies; tried in turn.
        path: Where to put it.
        md5: Its md5 sum, in hexadecimal.
        timeout: Seconds without a byte after which an attempt has failed.
        attempts: Failures in a row, none of which brought anything new, after which to give up.
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
    """Receive what is missing of `part`, then check its sum; a wrong one deletes it."""
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
    """Append to `part` what the server sends from its end on; start afresh where the server cannot do that."""
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
    """Whether trying the same address again is pointless."""
    if isinstance(error, HTTPError):
        return 400 <= error.code < 500 and error.code not in TRANSIENT
    return isinstance(error, _AlteredError)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
