"""The wordings of reasons for claims about binary weights: filters, bits and flips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from boundcheck.report.wording import plural


def _names(cells: Sequence[Sequence[str]]) -> str:
    return ", ".join(map("/".join, cells))


def _bits_compared(num_wrong: int, num_steps: int, num_pairs: int, num_flips: int, num_undecided: int) -> str:
    text = (
        f"{num_wrong} of the bits differ over {num_steps} recorded steps of {num_pairs} pairs of runs with {num_flips} "
        "flips"
    )
    return f"{text}; {num_undecided} more, whose premise fails, decide nothing" if num_undecided else text


def _bits_differ(num: int, num_pairs: int, first_steps: Sequence[float]) -> str:
    steps = " to ".join(f"{step:g}" for step in dict.fromkeys(first_steps))
    first = f", first at {'steps' if ' ' in steps else 'step'} {steps}" if steps else ""
    return f"bits differ in {num} of {num_pairs} pairs of runs{first}"


def _products(
    num_wrong: int, num_alike: int, num_others: int, num_different: int, differing: Sequence[float], same: Sequence[str]
) -> str:
    none = f"; none differs in {', '.join(same)}" if same else ""
    return (
        f"{num_wrong} bits differ between {num_alike} pairs of runs of equal product and w₀/lr; of {num_others} pairs "
        f"of runs of another product or w₀/lr {num_different} have other bits, {differing[0]:.3g}% to "
        f"{differing[1]:.3g}% at the end{none}"
    )


def _within_factor(factor: float, num: int, num_cells: int, beyond: Sequence[Sequence[str]]) -> str:
    named = f"; beyond it with their intervals: {_names(beyond)}" if beyond else ""
    return f"within a factor {factor:g} in {num} of {plural(num_cells, 'cell', 'cells')}{named}"


def _mappings_replayed(num_cells: int, wrong: Sequence[Sequence[str]], lucky: Sequence[Sequence[str]]) -> str:
    named = [f"bits wrong: {mapping} on {'/'.join(cell)}" for mapping, *cell in wrong]
    named += [f"no bit wrong: {mapping} on {'/'.join(cell)}" for mapping, *cell in lucky]
    return "; ".join([f"{num_cells - len(named)} of {num_cells} mappings are exact, or not, as stated", *named])


def _delays(factor: float, num: int, num_scales: int, num_unended: int) -> str:
    text = f"within a factor {factor:g} of the prediction at {num} of {plural(num_scales, 'scale', 'scales')}"
    return f"{text}; at {num_unended} the training ended before" if num_unended else text


WORDINGS: dict[str, str | Callable[..., str]] = {
    "no_twins": lambda relations: f"the grid has no two trainings that are related as {' or '.join(relations)}",
    "no_bits": "no pair has the bits of both",
    "bits_compared": _bits_compared,
    "bits_differ": _bits_differ,
    "mappings_replayed": _mappings_replayed,
    "no_grid": "the grid has no cells of equal product and w₀/lr, none of other ones, or no single centre",
    "products": _products,
    "spread_of_accuracy": (
        "at one fixed w₀ accuracies of one product lie up to {points:.3g} points apart (mean over seeds)"
    ),
    "delays": _delays,
    "forgotten_starts": lambda scales: (
        f"no heavier than the gradients' noise: scale {', '.join(f'{scale:g}' for scale in scales)}"
    ),
    "few_starts": "fewer than two starts have bits and gradients that were recorded, and are remembered",
    "few_flips": lambda share: f"no run flipped {100 * share:g}% of its weights",
    "within_factor": _within_factor,
    "no_formula": lambda cells: f"left out, as there is no formula: {_names(cells)}",
}
