"""How the strength of a method, its radius ρ or its coefficient λ, moves during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boundcheck.methods.checks import check_number


def scheduled(group: Mapping[str, Any], name: str, has_warmup: bool = True) -> Any:
    """The strength s at this step, read off a parameter group: constant unless the group says otherwise.

    s_t = (s_min + (s − s_min) η_t/η_0) · min(1, (t + 1)/warmup), where η_t is `lr` and η_0 is `initial_lr`, which
    learning-rate schedulers leave in the group (without it η_t/η_0 = 1), and t is `num_steps`, the steps made so far.
    `<name>_min` None: no dependence on η. `warmup` 0: no warm-up. A warm-up of η alone warms s up too, where s_min = 0.

    Args:
        group: holds `name`, `<name>_min`, `warmup` (steps), `num_steps` and `lr`.
        name: which number is the strength.
        has_warmup: whether `warmup` is of this strength.

    Returns:
        s_t, in the unit of s.

    References:
        Zhuang et al. 2022 (GSAM): the radius in proportion to the learning rate.
    """
    strength, least = group[name], group[f"{name}_min"]
    if least is not None:
        strength = least + (strength - least) * group["lr"] / group.get("initial_lr", group["lr"])
    if has_warmup and group["warmup"]:
        strength = strength * min(1.0, (group["num_steps"] + 1) / group["warmup"])
    return strength


def check_schedule(group: Mapping[str, Any], name: str) -> None:
    """Refuse a least strength outside [0, s] and a negative warm-up.

    Raises:
        ValueError: with the field, the value and what is allowed.
    """
    if (least := group[f"{name}_min"]) is not None:
        check_number(f"{name}_min", least, f"in [0, {name}]", lambda x: 0 <= x <= group[name])
    check_number("warmup", group["warmup"], ">= 0", lambda x: x >= 0)
