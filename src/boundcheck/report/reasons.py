"""Puts the reasons of verdicts into words."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from boundcheck.report import reasons_binary_filter, reasons_dag_momentum, reasons_weight_norm
from boundcheck.report.wording import plural
from boundcheck.verdicts import Reason

Wording = str | Callable[..., str]  # a text with the reason's values in braces, or a function of them


def worded(reasons: Sequence[Reason]) -> str:
    """All reasons of a verdict in words, separated by semicolons."""
    return "; ".join(_worded(reason) for reason in reasons)


def as_json(reasons: Sequence[Reason]) -> str:
    """The reasons as a JSON list of {kind, values}."""
    return json.dumps([dataclasses.asdict(reason) for reason in reasons], default=float)


def _worded(reason: Reason) -> str:
    wording = WORDINGS[reason.kind]
    return wording.format(**reason.values) if isinstance(wording, str) else wording(**reason.values)


def _name(cell: Sequence[str]) -> str:
    return "/".join(cell)


def _sides(num: int, num_cells: int, against: Sequence[Sequence[str]]) -> str:
    reverse = f", the reverse in {len(against)}: {', '.join(map(_name, against))}" if against else ""
    return f"as claimed in {num} of {plural(num_cells, 'cell', 'cells')}{reverse}"


def _absent_runs(status: str, num: int, seeds: Mapping[str, Sequence[int]]) -> str:
    cells = "; ".join(f"{cell} {', '.join(map(str, of_cell))}" for cell, of_cell in seeds.items())
    return f"{plural(num, 'run', 'runs')} {status} ({cells})"


def _several_baselines(cell: Sequence[str], baselines: Sequence[Sequence[str]]) -> str:
    names = ", ".join(map(_name, baselines))
    return f"{_name(cell)} has {len(baselines)} baselines, of which the claim must name one: {names}"


def _selector(value: Any) -> str:
    """A selector in the form that it has in a config."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_selector(part)}' for name, part in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_selector, value))}]"
    return str(value)


def _unreached(num: int, left_out: int | None = None) -> str:
    text = (
        plural(num, "run never gets there and counts as its", "runs never get there and count as their") + " last step"
    )
    return text if left_out is None else f"{text}; pairs of which neither does, left out: {left_out}"


def _hardly_trained(losses: Sequence[Sequence[Any]], limit: float) -> str:
    named = ", ".join(f"{loss:.3g} on {_name(cell)}" for *cell, loss in losses)
    return f"hardly trained: the training loss is {named}, above {limit:g}"


def _violated(
    num: int,
    cell: Sequence[str],
    seed: int,
    step: int,
    sense: str,
    coordinate: float,
    measured: float,
    bound: float,
    tolerance: float,
) -> str:
    at = "" if math.isnan(coordinate) else f", coordinate {coordinate:g}"
    relation = {"upper": "≤", "lower": "≥", "equal": "="}[sense]
    return (
        f"{plural(num, 'row violates', 'rows violate')} it, worst {_name(cell)} seed {seed} step {step}{at}: "
        f"measured {measured:.6g}, stated {relation} {bound:.6g} (± {tolerance:.2g})"
    )


def _tightness(worst: float, median: float, of: str = "") -> str:
    return f"tightness{of and ' of '}{of} {worst:.4g} (worst), {median:.4g} (median)"


def _within_margin(
    reference: str,
    margin: str,
    at_least: bool,
    inside: Sequence[str],
    beyond: Sequence[str],
    undecided: Sequence[str],
) -> str:
    relation = f"at most {margin} worse than" if at_least else f"within ±{margin} of"
    text = f"{reference} is {relation} {', '.join(inside) or 'none of the others'}"
    if beyond:
        text += f"; beyond it: {', '.join(beyond)}"
    return f"{text}; the interval crosses the margin for {', '.join(undecided)}" if undecided else text


def _within_shortfall(decision: str, unit: str, changed: Sequence[Sequence[float]]) -> str:
    effects = " or ".join(f"{mean:+.3g} [{low:+.3g}, {high:+.3g}] {unit}".rstrip() for mean, low, high in changed)
    return (
        f"the values found would make it {decision}, but ascents may miss part of a maximum: with the estimate of what "
        f"they missed the effect is {effects}, which does not decide it (the estimate comes from the spread of the "
        "ascents; where all of them reach one maximum it is 0 and says nothing of higher ones)"
    )


WORDINGS: dict[str, Wording] = {
    # selection
    "no_cell": "the grid has no cell that the claim selects",
    "no_baseline": lambda wanted: f"no selected cell has a baseline in the grid; wanted: {_selector(wanted)}",
    "several_baselines": _several_baselines,
    "one_common_seed": "some cell has fewer than two seeds in common with its baseline, and an interval needs two",
    "not_recorded": "no selected cell records {quantity} in the {source}",
    "skipped": lambda why: f"skipped cells: {'; '.join(why)}",
    # values
    "ambiguous_quantity": "{quantity} has several values at one step; name the coordinate or the analysis",
    "no_values": "no pair of finished runs has a {quantity} to compare",
    "absent_runs": _absent_runs,
    "no_pair_left": "no pair of runs is left",
    "unreached": _unreached,
    "no_run_has": "no finished run has a {quantity}",
    # theorems
    "nothing_to_check": "nothing was measured that {check} could be checked on",
    "premise_nowhere": "the premise holds on none of {num_rows} rows",
    "premise_rows": "{num} of {num_rows} rows satisfy the premise",
    "equal_up_to": "equal up to {apart:.2g} (tolerance {tolerance:.2g})",
    "tightness": _tightness,
    "violated": _violated,
    "holds": "it holds on every row",
    "too_loose": "it holds on every row, but {tightness:.3g} times too loose (limit {limit:g})",
    # correlations
    "too_few_methods": "a rank correlation needs four methods of one network with the measurement and the gap",
    "interval_covers_0": "the interval covers 0",
    "rank_correlation": "{of} {mean:+.2f} [{low:+.2f}, {high:+.2f}]",
    # gradient norm aware minimisation
    "no_smooth_network": "R¹, ‖g‖ and γ₂ were measured on no smooth network",
    "curvature_accuracy": "with the γ₂ that was measured R¹/ρ² is ‖H‖ ± {accuracy:.3g}% (median of {num} runs)",
    "curvature_outside": "‖H‖ lies outside in {num} runs",
    "risk_bound_exceeds": "at {num} of {num_points} points it exceeds M, the largest loss measured on any example",
    # decisions
    "sides": _sides,
    "pooled_opposite": "the pooled interval lies on the other side of 0",
    "pooled_covers_0": "the pooled interval covers 0",
    "cells_disagree": "the cells disagree",
    "too_few_seeds": lambda num: (
        f"an interval needs two seeds that every cell has, there {'is 1' if num else 'is none'}"
    ),
    "equal_differences": "all {num} seeds give one and the same difference, so that their spread is unknown",
    "hardly_trained": _hardly_trained,
    "margin": "{effect:+.3g}% from the baseline, allowed ±{margin:g}%",
    "within_margin": _within_margin,
    "within_shortfall": _within_shortfall,
    "not_converged": lambda quantity, num: (
        f"the {quantity.replace('_', ' ')} of {plural(num, 'network', 'networks')} had not settled, or a larger "
        "eigenvalue may have been missed, when the allowed Hessian-vector products were spent"
    ),
    "shortfall_unknown": lambda quantity, num: (
        f"{plural(num, 'value', 'values')} of {quantity.replace('_', ' ')} from a single ascent, which does not tell "
        "how much it missed"
    ),
    "no_two_groups": "no two groups were run on one dataset and model",
    **reasons_binary_filter.WORDINGS,
    **reasons_weight_norm.WORDINGS,
    **reasons_dag_momentum.WORDINGS,
}
