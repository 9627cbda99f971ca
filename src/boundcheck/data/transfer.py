"""Download a file and check its sum. An interrupted download is resumed; a server that cheats is left."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError

from boundcheck.data.errors import DataError, explained, first_line
from boundcheck.data.servers import FinalError, opened

TIMEOUT_SECONDS = 30.0  # without a byte
ATTEMPTS = 5  # in a row that bring nothing new
MAX_ATTEMPTS = 100
BACKOFF_SECONDS = 1.0  # doubled after each failure
TRANSIENT = {408, 416, 425, 429}  # 416: the kept part is of no use, a fresh start may be

log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that two jobs never write the same file. Creates the folder if necessary."""
    with explained(folder, "choose a folder that can be written", OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sum_of(path: Path, expected: str) -> str:
    """The sum of a file in hexadecimal, of the same kind and length as the expected one.

    Args:
        path: the file.
        expected: `md5:` and 32 digits, or `sha256:` and the first digits of the sum.
    """
    kind, _, digits = expected.partition(":")
    with open(path, "rb") as file:  # md5 detects damage, not attacks
        digest = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    return f"{kind}:{digest[: len(digits)]}"


def download(
    addresses: Sequence[str],
    path: Path,
    expected: str,
    *,
    timeout: float = TIMEOUT_SECONDS,
    max_bytes: int,
    attempts: int = ATTEMPTS,
    backoff: float = BACKOFF_SECONDS,
    advice: str = "check the network, set `mirror`",
) -> None:
    """Download a file to `path`, unless `path` already has this sum.

    The data goes to a hidden file beside `path`. A later attempt, of this call or the next, continues that file.
    `path` is created only if the sum is right. The caller must hold the lock of the folder.

    Args:
        addresses: Addresses of the file; tried in turn.
        path: Where to store it.
        expected: Its sum: `md5:` and 32 digits, or `sha256:` and its first digits, in hexadecimal.
        timeout: Seconds without data after which an attempt fails.
        max_bytes: A longer file is refused.
        attempts: Give up after this number of failures in a row that received no new data, or MAX_ATTEMPTS in all.
        backoff: Seconds to wait after the first failure; doubled after each.
        advice: What to do if it fails, beside putting the file there by hand.

    Raises:
        DataError: the network, the server or the disk failed, or the sum is wrong.
    """
    kept = _kept(path, expected)
    if kept == expected:
        return
    part = path.with_name(f".{path.name}.part")
    remaining, errors, furthest, failures = list(addresses), {}, _size(part), 0
    for _ in range(MAX_ATTEMPTS):
        if not remaining or failures >= attempts:
            break
        address = remaining[failures % len(remaining)]
        try:
            _attempt(address, part, expected, timeout, max_bytes)
            os.replace(part, path)
            return
        except (OSError, HTTPException, ValueError) as error:  # ValueError: no address, or a header that is none
            errors[address] = first_line(error)
            log.warning("%s: %s", address, errors[address])
            if _is_final(error):
                remaining.remove(address)
                continue
        failures = 1 if _size(part) > furthest else failures + 1
        furthest = max(furthest, _size(part))
        if failures < attempts:
            time.sleep(backoff * 2 ** (failures - 1))
    told = "; ".join(f"{address}: {error}" for address, error in errors.items())
    found = f" (the file there has {kept.replace(':', ' ')})" if kept else ""
    wanted = expected.replace(":", " ")
    raise DataError(f"{told}; {advice}, or put the file with {wanted} at {path} yourself{found}")


def _kept(path: Path, expected: str) -> str | None:
    """The sum of the file that is at the path already; None if there is none."""
    if not path.is_file():
        return None
    with explained(path, "make the file readable or remove it", OSError):
        kept = sum_of(path, expected)
    if kept != expected:
        log.warning("%s: its sum is %s, expected %s; it is fetched again", path, kept, expected)
    return kept


def _attempt(address: str, part: Path, expected: str, timeout: float, max_bytes: int) -> None:
    """Receive the missing part of the file and check its sum. If the sum is wrong, delete the file."""
    resumed_at = _size(part)
    if resumed_at and sum_of(part, expected) == expected:
        return
    try:
        _receive(address, part, timeout, max_bytes)
    except HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        raise
    if (received := sum_of(part, expected)) != expected:
        part.unlink()
        kind, _, digits = received.partition(":")
        message = f"{kind} is {digits}, expected {expected.partition(':')[2]}"
        raise OSError(f"{message} after a resume") if resumed_at else FinalError(message)


def _receive(address: str, part: Path, timeout: float, max_bytes: int) -> None:
    """Append the rest of the file to `part`. Start from the beginning if the server cannot resume."""
    start = _size(part)
    with opened(address, start, timeout) as response:
        is_rest = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        size, expected, received = start if is_rest else 0, _announced(response.headers), 0
        _refuse_size(size + (expected or 0), max_bytes)
        advice = "what was received is kept: free space there and fetch again"
        with explained(part, advice, OSError):
            file = open(part, "ab" if is_rest else "wb", buffering=0)  # noqa: SIM115
        with file:
            while block := response.read1(1 << 20):
                received += len(block)
                if size + received > max_bytes:
                    part.unlink()
                _refuse_size(size + received, max_bytes)
                with explained(part, advice, OSError):
                    _write_all(file, block)
        if expected is not None and received < expected:
            raise ConnectionError(f"the server stopped after {received} of {expected} bytes")


def _announced(headers: HTTPMessage) -> int | None:
    """The number of bytes that the server says will come; None if it says nothing."""
    if headers.get_content_type() == "text/html" and "Content-Type" in headers:
        raise FinalError("the server sent a page (text/html) instead of the file")
    lengths = set(headers.get_all("Content-Length", []))
    if not lengths:
        return None
    length = lengths.pop().strip()
    if lengths or not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise FinalError(f"the server's Content-Length is no number of bytes: {', '.join([length, *lengths])[:60]!r}")
    return int(length)


def _refuse_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise FinalError(f"the server sends {size:,} bytes or more, and no file has more than {max_bytes:,}")


def _write_all(file: FileIO, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _is_final(error: Exception) -> bool:
    """Whether a further attempt at the same address cannot succeed."""
    if isinstance(error, HTTPError):
        return 300 <= error.code < 500 and error.code not in TRANSIENT
    return isinstance(error, FinalError | ValueError) or type(error).__name__ == "InvalidURL"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
