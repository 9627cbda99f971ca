"""Errors where memory or disk ran out: they name the cell and say what helps."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from boundcheck.cells.cell import CellNames

NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained_resource_errors(cell: CellNames, to_lower: str) -> Iterator[None]:
    """Name the cell and what helps in an error of the block that says that memory or disk ran out.

    Other errors pass unchanged.

    Args:
        cell: the names of the cell.
        to_lower: the keys of the config that take less memory when they are lowered.

    Raises:
        MemoryError: the memory of the machine or of the device ran out.
        OSError: the disk is full, or a limit on the size of files was reached.
    """
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
    """The system's number of an error; safetensors says it only in its message."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"os error (\d+)", str(error))
    return int(match.group(1)) if match else None
