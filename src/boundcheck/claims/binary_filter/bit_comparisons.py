"""The bits of two trainings, step by step: how many differ, as claims decide from them and show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from boundcheck.claims.binary_filter.relations import Twins
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.selection import cells_of
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure, Tables

COUNTS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)  # bits that are set in each byte
FIGURE_POINTS = 150


class Comparison(NamedTuple):
    """Two runs of one seed. `differing` (T,) is the share of weights whose bits differ after each recorded step."""

    twins: Twins
    seed: int
    steps: np.ndarray
    differing: np.ndarray
    num_weights: int
    num_flips: int  # of the first run
    training: Mapping[str, Any]  # the settings of both

    @property
    def network(self) -> tuple[str, str]:
        """Dataset and model."""
        return self.twins[0][:2]

    @property
    def label(self) -> str:
        """The name of the comparison in tables and figures: both methods."""
        return " | ".join(method for *_, method in self.twins)

    @property
    def run(self) -> tuple[str, str, str, int]:
        """The keys that a check's row of the comparison has."""
        return (*self.network, self.label, self.seed)

    @property
    def mismatches(self) -> int:
        """Bits that differ, summed over all recorded steps."""
        return round(float(self.differing.sum()) * self.num_weights)

    @property
    def decided_at(self) -> int:
        """The first recorded step at which a bit differs, or else the last step."""
        return int(self.steps[-1]) if np.isnan(self.first_mismatch) else int(self.first_mismatch)

    @property
    def first_mismatch(self) -> float:
        """The first recorded step at which a bit differs; NaN if none does."""
        where = np.flatnonzero(self.differing)
        return float(self.steps[where[0]]) if len(where) else NAN


def comparisons(tables: Tables, pairs: Sequence[Twins]) -> list[Comparison]:
    """Each pair of cells that has the bits of both, by seed, at the steps that both recorded.

    Args:
        tables: the results.
        pairs: pairs of cells with equal training settings, so that their steps are the same ones.
    """
    cells = cells_of(tables.runs[tables.runs["status"] == "done"])
    compared = []
    for first, second in pairs:
        if first in cells and second in cells:
            a, b = (tables.arrays(*key, "bits") for key in (first, second))
            training = cells[first]["training"]
            compared += [
                _compared((first, second), seed, a[seed], b[seed], training) for seed in sorted(a.keys() & b.keys())
            ]
    return compared


def _compared(
    twins: Twins, seed: int, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], training: Mapping[str, Any]
) -> Comparison:
    steps, in_a, in_b = np.intersect1d(a["steps"], b["steps"], return_indices=True)
    bits_a, bits_b = a["bits"][in_a], b["bits"][in_b]  # (T, bytes)
    num_weights = int(a["num_weights"])
    differing = COUNTS[bits_a ^ bits_b].sum(1) / num_weights
    num_flips = int(COUNTS[bits_a[1:] ^ bits_a[:-1]].sum())
    return Comparison(twins, seed, steps, differing, num_weights, num_flips, training)


def mismatch_table(compared: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row for each pair of cells: what was compared, flips, bits that differ, the first step with a mismatch.

    `recorded steps` is the number of steps after which bits were recorded. Flips and bits that differ are summed over
    these steps and over the n seeds.
    """
    groups: dict[Twins, list[Comparison]] = {}
    for comparison in compared:
        groups.setdefault(comparison.twins, []).append(comparison)
    return [_row(group) for group in groups.values()]


def _row(group: Sequence[Comparison]) -> dict[str, Any]:
    first = group[0]
    mismatches = [c.first_mismatch for c in group if c.mismatches]
    return {
        "dataset": first.network[0],
        "model": first.network[1],
        "method": first.label,
        "lr": first.training["lr_schedule"],
        "precision": first.training["precision"],
        "n": len(group),
        "steps": int(first.steps[-1]),
        "recorded steps": len(first.steps) - 1,
        "weights": first.num_weights,
        "flips": sum(c.num_flips for c in group),
        "bits that differ": sum(c.mismatches for c in group),
        "first at step": min(mismatches, default=NAN),
        "differ at the end (%)": 100 * float(np.mean([c.differing[-1] for c in group])),
    }


def mismatch_figure(compared: Sequence[Comparison]) -> Figure:
    """The share of bits that differ by step, mean and range over seeds."""
    rows = []
    for comparison in compared:
        keep = np.unique(np.linspace(0, len(comparison.steps) - 1, FIGURE_POINTS).astype(int))
        names = " · ".join(comparison.network), comparison.label
        rows += [(*names, float(comparison.steps[i]), 100 * float(comparison.differing[i])) for i in keep]
    data = averaged(pd.DataFrame(rows, columns=["panel", "series", "x", "value"]))
    caption = "Share of bits that differ between two trainings: mean over seeds; the band is their range."
    return Figure(data, "line", "step", "bits that differ (%)", caption)
