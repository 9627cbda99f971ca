"""The errors of the data package, and names as they are compared: settings not allowed, data missing or damaged."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from boundcheck.plain_text import one_line


class DataError(RuntimeError):
    """Data is missing, damaged or unsuitable; the message names the file or address and says what to do.

    It is one line without control characters, whatever the names of files and the answers of servers hold.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def require(holds: bool, field: str, value: object, allowed: str) -> None:
    """Check a setting.

    Raises:
        ValueError: `holds` is false; the message names the field, its value and what is allowed.
    """
    if not holds:
        raise ValueError(f"{field}: got {value!r}; allowed: {allowed}")


@contextmanager
def explained(subject: object, advice: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds into a DataError "subject: what happened; advice"; a DataError passes unchanged."""
    try:
        yield
    except DataError:
        raise
    except kinds as error:
        is_named = isinstance(error, OSError) and error.strerror and str(error.filename) == str(subject)
        told = error.strerror if isinstance(error, OSError) and is_named else first_line(error)
        raise DataError(f"{subject}: {told}; {advice}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none; at most 300 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(":. ")


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS writes é as e and an accent, other systems as one letter."""
    return unicodedata.normalize("NFC", name)
