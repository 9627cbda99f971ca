"""The wordings of reasons for claims about adaptive momentum."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def _nearest_limit(nearest: float, times: float) -> str:
    below = f", below {times:g}" if nearest < times else ""
    return f"the least known η/limit of those beyond is {nearest:.3g}{below}"


def _guaranteed(
    model: str, lr: float, bound: float, looseness: float, rises: int, falls: float, num_steps: float
) -> str:
    return (
        f"{model}: η = {lr:.3g} from L(R) = {bound:.3g}, {looseness:.3g} times the largest measured curvature; "
        f"{rises} rises, and E falls by {falls:.3g}% in {num_steps:.0f} steps"
    )


def _converged(num: int, num_runs: int, ends: Mapping[str, int], tail_percent: float, stationary: float) -> str:
    points = ", ".join(f"{name} {count}" for name, count in ends.items())
    return (
        f"{num} of {num_runs} runs have converged (second half at most {tail_percent:g}% of the path, KL exponent in "
        f"[0.45, 1), ‖g‖ down to {stationary:g} of its start, no saddle); they end at: {points}"
    )


WORDINGS: dict[str, str | Callable[..., str]] = {
    "no_steps": "no steps were recorded",
    "no_steps_of_both_sides": "no steps were recorded of both sides of the limit",
    "no_steps_with_decay": "no steps with weight decay were recorded",
    "no_curvature": "no curvature was recorded",
    "sampled_certificate": "a sampled certificate: curvature measured on {num} of {num_steps} steps",
    "loss_rises": "E itself rises at {num} of {num_steps} steps, and V falls at {falls} of these",
    "breaks": "{num_broken} of {num_beyond} runs beyond the limit rise, {num_kept} of {num_within} within never do",
    "nearest_limit": _nearest_limit,
    "guaranteed": _guaranteed,
    "converged": _converged,
    "plateau": "{effect:+.3g}% from 2(1 + β), allowed ±{margin:g}%",
    "no_measures": "no two networks have measures to compare",
    "pairs_apart": "{measure} tells {num} of {num_pairs} pairs apart",
    "answers_agree": (
        "of the {num} answers of the other measures to these pairs {agree} agree, {undecided} are undecided and "
        "{reverse} say the reverse"
    ),
}
