"""The figures of a comparison: its intervals, the course of the compared quantity, and other quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boundcheck.claims.shared.compared import Compared, Quantity
from boundcheck.claims.shared.figures import coordinate_figure, curve_figure, in_words, interval_figure
from boundcheck.claims.shared.values import quantity_rows
from boundcheck.verdicts import Figure


def comparison_figures(
    compared: Compared,
    quantity: Quantity,
    evidence: Sequence[Mapping[str, Any]],
    unit: str,
    shown: Mapping[str, str],
) -> list[Figure]:
    """An interval for each cell, curves over the epochs, and the quantities that are shown over a coordinate.

    Args:
        compared: what was compared.
        quantity: which quantity.
        evidence: a row for each pair, and the pooled one.
        unit: of the effect.
        shown: quantities of the measurements, each with the name of its coordinate.
    """
    name = in_words(quantity.name)
    what = name + _until(quantity)
    baseline = _common_name(compared)
    label = f"{what}: difference from {baseline}" + (f" ({unit})" if unit else "")
    caption = f"Difference of {what} from {baseline}{_when(quantity)}: mean over paired seeds and its 95% interval."
    runs = compared.tables.runs
    keys = {key for pair in compared.pairs if compared.common_seeds(pair) for key in (pair.cell, pair.baseline)}
    drawn = [key in keys for key in zip(runs["dataset"], runs["model"], runs["method"], strict=True)]
    figures: list[Figure | None] = [interval_figure(evidence, label, caption)]
    if not quantity.at_equal_loss:  # where every run is one point
        figures.append(curve_figure(compared.rows, runs[drawn], name))
    for other, coordinate in shown.items():
        rows = quantity_rows(compared.tables, "measurements", other)
        figures.append(coordinate_figure(rows, runs, in_words(other), coordinate))
    return [figure for figure in figures if figure is not None]


def _common_name(compared: Compared) -> str:
    names = {pair.baseline_name for pair in compared.pairs if pair.baseline}
    return names.pop() if len(names) == 1 and names != {""} else "the baseline"


def _until(quantity: Quantity) -> str:
    if quantity.until_share is not None:
        return f", steps until it is {quantity.until_share:.3g} of its first value"
    return "" if quantity.until_level is None else f", steps until it is ≤ {quantity.until_level:g}"


def _when(quantity: Quantity) -> str:
    if quantity.at_equal_loss:
        return ", at equal training loss"
    if quantity.counts_steps:
        return ""
    return f", {quantity.at} value of each run" if isinstance(quantity.at, str) else f", epoch {quantity.at:g}"
