"""The figures of a comparison: its intervals, the course of the compared quantity, and other quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boundcheck.claims.shared.compared import Compared, levels_of
from boundcheck.claims.shared.figures import coordinate_figure, curve_figure, in_words, interval_figure
from boundcheck.claims.shared.selection import rows_of
from boundcheck.claims.shared.values import quantity_rows
from boundcheck.verdicts import Figure

if TYPE_CHECKING:
    from boundcheck.claims.shared.comparison import Comparison


def comparison_figures(compared: Compared, claim: Comparison, evidence: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """An interval for each row of evidence, curves over the epochs, and the quantities shown over a coordinate."""
    name = in_words(claim.quantity)
    what = name + _until(claim, compared)
    baseline, seeds = _common_name(compared), "paired seeds"
    if claim.baseline_value is not None:
        baseline, seeds = f"{claim.baseline_value:g}", "seeds"
    label = f"{what}: difference from {baseline}" + (f" ({claim.effect_unit})" if claim.effect_unit else "")
    caption = f"Difference of {what} from {baseline}{_when(claim)}: mean over {seeds} and its 95% interval."
    runs = compared.tables.runs
    drawn = rows_of(runs, {key for pair in compared.pairs if compared.common_seeds(pair) for key in pair.cells})
    figures: list[Figure | None] = [interval_figure(evidence, label, caption)]
    if not claim.at_equal_loss:  # where every run is one point
        figures.append(curve_figure(compared.rows, drawn, name))
    for other, coordinate in claim.show.items():
        rows = quantity_rows(compared.tables, "measurements", other)
        figures.append(coordinate_figure(rows, runs, in_words(other), coordinate))
    return [figure for figure in figures if figure is not None]


def _common_name(compared: Compared) -> str:
    names = {pair.baseline_name for pair in compared.pairs if pair.baseline}
    return names.pop() if len(names) == 1 and names != {""} else "the baseline"


def _until(claim: Comparison, compared: Compared) -> str:
    if claim.until_share is not None:
        return f", steps until it is {claim.until_share:.3g} of its first value"
    levels = sorted(set(levels_of(claim, compared.tables).values()))
    return f", steps until it is ≤ {' or '.join(f'{level:g}' for level in levels)}" if levels else ""


def _when(claim: Comparison) -> str:
    if claim.at_equal_loss:
        return ", at equal training loss"
    if claim.counts_steps:
        return ""
    return f", {claim.at} value of each run" if isinstance(claim.at, str) else f", epoch {claim.at:g}"
