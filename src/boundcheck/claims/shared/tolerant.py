"""What checks with a tolerance share."""

from __future__ import annotations


class Tolerant:
    """Refuses a negative `tolerance`, which each check has as a field with a default and a unit of its own."""

    tolerance: float

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance: got {self.tolerance}; allowed: >= 0")
