"""Formats numbers and references for readers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

MAX_DECIMALS = 6
LINKS = (
    (re.compile(r"arXiv:? ?(\d{4}\.\d{4,5})"), "https://arxiv.org/abs/{}"),
    (re.compile(r"doi:? ?(10\.\d{4,}/[^\s,;]+)", re.IGNORECASE), "https://doi.org/{}"),
)


def number(value: Any, decimals: int | None = None) -> str:
    """A value with three significant digits, or with `decimals` decimals; "–" for none, "∞" for infinity.

    Integers, and numbers from a thousand to a million, are written without an exponent.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if decimals is not None:
        text = f"{value:.{decimals}f}"
    elif abs(value) < 1e6 and (value.is_integer() or abs(value) >= 1e3):
        text = f"{value:.0f}"
    else:
        text = f"{value:#.3g}".rstrip(".")
    return re.sub(r"e([+-])0?", lambda sign: "e" + sign[1].strip("+"), text).replace("-", "−")


def plural(num: int, one: str, several: str) -> str:
    """A number with the singular or plural word: 1 run, 2 runs."""
    return f"{num} {one if num == 1 else several}"


def signed(value: float, decimals: int | None = None) -> str:
    """A number with its sign, including +."""
    return f"+{number(value, decimals)}" if value > 0 else number(value, decimals)


def interval(effect: float, low: float, high: float, unit: str) -> str:
    """An effect with its interval, such as "−12.3 % [−15.0, −9.6]", to two significant digits of the half width."""
    if math.isnan(effect):
        return "–"
    if math.isnan(low):
        return " ".join(filter(None, (signed(effect), unit, "(no interval)")))
    decimals = decimals_for((high - low) / 2)
    bounds = f"[{signed(low, decimals)}, {signed(high, decimals)}]"
    return " ".join(filter(None, (signed(effect, decimals), unit, bounds)))


def mean_and_std(values: Iterable[float]) -> str:
    """Mean ± standard deviation (divisor n − 1, two significant digits) of the values that are not NaN."""
    known = [float(value) for value in values if not math.isnan(value)]
    if not known:
        return "–"
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return number(mean)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1))
    decimals = decimals_for(std)
    return f"{number(mean, decimals)} ± {number(std, decimals)}"


def decimals_for(spread: float) -> int | None:
    """The number of decimals that gives a spread two significant digits; None if it exceeds MAX_DECIMALS."""
    decimals = max(0, 1 - math.floor(math.log10(spread))) if 0 < spread < math.inf else 99
    return decimals if decimals <= MAX_DECIMALS else None


def links(text: str) -> list[tuple[str, str]]:
    """Split a text into (piece, address): arXiv and DOI numbers have an address, other pieces have ""."""
    matches = sorted(
        (match.start(), match.end(), address.format(match[1].rstrip(".)")))
        for pattern, address in LINKS
        for match in pattern.finditer(text)
    )
    pieces, position = [], 0
    for start, end, address in matches:
        pieces += [(text[position:start], ""), (text[start:end], address)]
        position = end
    return [piece for piece in (*pieces, (text[position:], "")) if piece[0]]
