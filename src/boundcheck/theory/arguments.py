"""Arguments of the theorems: convert numbers and arrays to float64, and reject values that are not allowed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def floats(*values: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """The values as float64 arrays. Formulas with them broadcast; for plain numbers they return numbers."""
    return tuple(np.asarray(value, dtype=np.float64) for value in values)


def reject(name: str, values: npt.ArrayLike, where: npt.ArrayLike, allowed: str) -> None:
    """Raise a ValueError if `where` is true anywhere. Comparisons with NaN are false, so missing values are accepted.

    Args:
        name: the name of the argument.
        values: its values, broadcastable with `where`.
        where: true where a value is not allowed.
        allowed: the allowed range, in words.

    Raises:
        ValueError: names the argument, its first value that is not allowed, and what is.
    """
    if np.any(where):
        first = np.extract(*np.broadcast_arrays(where, values))[0]
        raise ValueError(f"{name}: got {first:g}; allowed: {allowed}")
