"""Memory or disk that runs out: the error names the cell, and says what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError

NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def shortages_named(spec: Mapping[str, Any], to_lower: str) -> Iterator[None]:
    """Say of an error within, where memory or disk ran out, which cell it was and what helps; others pass unchanged.

    Args:
        spec: the cell's spec: dataset, model and method with their names.
        to_lower: the keys of the config that take less memory when they are lowered.

    Raises:
        MemoryError: the memory of the machine or of the device ran out.
        OSError: the disk is full, or a limit on the size of files was reached.
    """
    cell = "/".join(spec[key]["name"] for key in ("dataset", "model", "method"))
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's allocators raise a RuntimeError
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        what = (str(error) or "the allocation failed").splitlines()[0]
        raise MemoryError(f"{cell}: out of memory ({what}); lower {to_lower}") from error
    except (OSError, SafetensorError) as error:
        number = _error_number(error)
        if number not in NO_SPACE:
            raise
        advice = "free space and run the same command again: it goes on from the last checkpoint"
        raise OSError(number, f"{cell}: {error}; {advice}") from error


def _error_number(error: OSError | SafetensorError) -> int | None:
    """The system's number of an error; safetensors only tells it in words."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"os error (\d+)", str(error))
    return int(told.group(1)) if told else None
