"""Schedules for the numbers of a method, such as its radius ρ or its coefficient α."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boundcheck.settings import CountOrZero, NotNegative, check


def scheduled(group: Mapping[str, Any], name: str) -> Any:
    """The value of a number s at this step; constant if its group has neither a least value nor a warm-up.

    s_t = (s_min + (s − s_min) η_t/η_0) · min(1, (t + 1)/s_warmup). η_t is `lr`. η_0 is `initial_lr`, which
    learning-rate schedulers write into the group; if it is missing or 0, η_t/η_0 = 1. t is `num_steps`, the steps made
    so far. `<name>_min` None: s does not depend on η. `<name>_warmup` 0: no warm-up. If η rises above η_0, s rises
    above its value too. With s_min = 0, a warm-up of η is also a warm-up of s.

    Args:
        group: holds `name`, `<name>_min`, `<name>_warmup` (steps), `num_steps` and `lr`.
        name: which number it is.

    Returns:
        s_t, in the unit of s.

    References:
        Zhuang et al. 2022 (GSAM): the radius in proportion to the learning rate.
    """
    number, least, warmup = group[name], group[f"{name}_min"], group[f"{name}_warmup"]
    if least is not None:
        full = group.get("initial_lr", group["lr"])
        number = least + (number - least) * (group["lr"] / full if full else 1.0)
    if warmup:
        number = number * min(1.0, (group["num_steps"] + 1) / warmup)
    return number


def check_schedule(group: Mapping[str, Any], name: str) -> None:
    """Check the schedule of a number.

    Raises:
        ValueError: the least value is outside [0, s], the warm-up is negative, or there is a schedule but no number.
    """
    least, warmup = group[f"{name}_min"], group[f"{name}_warmup"]
    if group[name] is None and (least is not None or warmup):
        raise ValueError(f"{name}_min, {name}_warmup: got {least}, {warmup}; allowed: none, without {name}")
    if least is not None:
        check(f"{name}_min", least, NotNegative)
        if least > group[name]:
            raise ValueError(f"{name}_min: got {least!r}; allowed: a number in [0, {name}]")
    check(f"{name}_warmup", warmup, CountOrZero)
