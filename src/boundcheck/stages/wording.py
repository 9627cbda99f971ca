"""Numbers and references as a reader wants them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

LINKS = (
    (re.compile(r"arXiv:? ?(\d{4}\.\d{4,5})"), "https://arxiv.org/abs/{}"),
    (re.compile(r"doi:? ?(10\.\d{4,}/[^\s,;]+)", re.IGNORECASE), "https://doi.org/{}"),
)


def number(value: Any) -> str:
    """A value in three significant digits (whole numbers in all of theirs); "–" for none, "∞" for an infinity."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"
    return re.sub(r"e([+-])0?", lambda sign: "e" + sign[1].strip("+"), text).replace("-", "−")


def signed(value: float) -> str:
    """A number with its sign, + too."""
    return f"+{number(value)}" if value > 0 else number(value)


def interval(effect: float, low: float, high: float, unit: str) -> str:
    """An effect with its interval, "−12.3 % [−15, −9.6]"; "" where there is no effect."""
    if math.isnan(effect):
        return ""
    bounds = "(no interval)" if math.isnan(low) else f"[{signed(low)}, {signed(high)}]"
    return " ".join(part for part in (signed(effect), unit, bounds) if part)


def mean_and_std(values: Iterable[float]) -> str:
    """Mean ± standard deviation (n − 1) of the values that are numbers; the value alone where there is one."""
    known = [float(value) for value in values if not math.isnan(value)]
    if not known:
        return "–"
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return f"{mean:.4g}"
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return f"{mean:.4g} ± {std:.2g}"


def links(text: str) -> list[tuple[str, str]]:
    """The text in pieces, each with the address it leads to or "": arXiv and DOI numbers lead somewhere."""
    found = sorted(
        (match.start(), match.end(), address.format(match[1].rstrip(".)")))
        for pattern, address in LINKS
        for match in pattern.finditer(text)
    )
    pieces, position = [], 0
    for start, end, address in found:
        pieces += [(text[position:start], ""), (text[start:end], address)]
        position = end
    return [piece for piece in (*pieces, (text[position:], "")) if piece[0]]
