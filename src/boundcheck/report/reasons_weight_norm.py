"""The wordings of reasons for claims about bounds, growth with a setting, and weight normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from boundcheck.report.wording import plural


def _medians(of: Mapping[str, float]) -> str:
    return "medians: " + ", ".join(f"{name} {value:.3g}" for name, value in of.items()).replace("inf", "∞")


def _slopes(
    quantity: str,
    x: str,
    logarithmic: bool,
    at_least: float | None,
    at_most: float | None,
    vacuous_below: float | None,
    groups: Mapping[str, Sequence[Any]],
) -> str:
    """`groups`: decision, slope, low and high of each sweep."""
    low = "" if at_least is None else f"{at_least:g} ≤ "
    high = "" if at_most is None else f" ≤ {at_most:g}"
    decisions = [decision for decision, *_ in groups.values()]
    counts = ", ".join(f"{decisions.count(d)} {d}" for d in dict.fromkeys(decisions))
    fits = "; ".join(f"{group}: {s:.3g} [{a:.3g}, {b:.3g}]" for group, (_, s, a, b) in groups.items())
    trivial = f"; what lies below {vacuous_below:g} is in that range trivially" if "vacuous" in decisions else ""
    stated = f"{quantity.replace('_', ' ')}, stated: {low}{'exponent' if logarithmic else 'change per doubling'}{high}"
    return f"{stated}; {plural(len(groups), 'sweep', 'sweeps')} of {x}: {counts} ({fits}){trivial}"


def _starts_below(group: str, num: int) -> str:
    runs = plural(num, "run has", "runs have")
    return f"{group} is not compared: {runs} a lower training loss at the first evaluation than others ever reach"


def _certified_rate(rate: Sequence[float], below: Sequence[float], decrease: Sequence[float]) -> str:
    return (
        f"the certified rate αω(2−ω)/β is {_range(rate)} of L − L′ per step; L′ lies {_range(below, 100)} % of L below "
        f"L, so that {_range(decrease, 100)} % of L are certified"
    )


def _gap_bound(
    excess: Sequence[float],
    num_informative: int,
    num_rows: int,
    num_samples: Sequence[float],
    gaps: Sequence[float],
) -> str:
    return (
        f"the bound is {_range(excess, digits=3)} times the loss of predicting 0, and below it on {num_informative} of "
        f"{num_rows} rows; it would fall below it from n = {_range(num_samples, digits=3)}; measured gaps lie in "
        f"[{gaps[0]:.3g}, {gaps[1]:.3g}]"
    )


def _range(ends: Sequence[float], scale: float = 1.0, digits: int = 2) -> str:
    return " to ".join(f"{scale * end:.{digits}g}" for end in ends)


WORDINGS: dict[str, str | Callable[..., str]] = {
    # bounds
    "medians": _medians,
    "not_applicable": lambda models, why: f"not applicable to {', '.join(models)}: {why}",
    "premise_needed": "without the premise the inequality fails in {num} of {num_cells} cells",
    "no_row_without_premise": "{check} has no row of a selected cell without the premise",
    # growth with a setting
    "no_sweep": "no cells with a {quantity} differ in {x} only and have three values of it",
    "slopes": _slopes,
    "starts_below": _starts_below,
    "least_loss_above": (
        "{group} is not compared: the least training loss that all reach is {loss:.3g}, above {limit:g}"
    ),
    "no_mean_gap": "{group} is not compared: the mean gap is {mean:.2g} [{low:.2g}, {high:.2g}]",
    # weight normalisation
    "promised_descent": "{num} of {num_rows} rows promise a decrease (ηβ < 2), the others bound the rise",
    "no_convexity": "no convexity was measured",
    "convexity": (
        "certified, α > 0, at every snapshot of {supported} of {num_cells} cells; of {contradicted} a sampled "
        "direction has a negative curvature; the others are neither"
    ),
    "certified_rate": _certified_rate,
    "not_certified": (
        "not certified: α ≤ 0 on {not_positive} of {num_rows} rows, α > 0 but no noticeably lower loss found on "
        "{no_lower_loss}"
    ),
    "gap_bound": _gap_bound,
}
