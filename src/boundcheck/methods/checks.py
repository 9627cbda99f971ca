"""Refusing settings that make no sense, in one form of words: `field: got value; allowed: what is allowed`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real


def check_number(name: str, value: object, allowed: str, holds: Callable[[float], bool]) -> None:
    """Refuse a value that is no finite number, or for which `holds` is false.

    Args:
        name: the field, as the user wrote it.
        value: what the user gave; a text such as "1e-3" (YAML reads it so) is no number.
        allowed: the condition in words or signs, such as "> 0".
        holds: the condition.

    Raises:
        ValueError: with the field, the value and what is allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not (math.isfinite(value) and holds(float(value))):
        raise ValueError(f"{name}: got {value!r}; allowed: a number {allowed}")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not one of `choices`.

    Raises:
        ValueError: with the field, the value and the choices.
    """
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}; allowed: {', '.join(str(choice) for choice in choices)}")
