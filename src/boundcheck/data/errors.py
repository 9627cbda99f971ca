"""The errors of the data package: settings that are not allowed, and data that is missing or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DataError(RuntimeError):
    """Data is missing, damaged or unsuitable; the message names the file or address and says what to do."""


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
        what = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise DataError(f"{subject}: {what}; {advice}") from error
