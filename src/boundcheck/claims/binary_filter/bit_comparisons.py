"""The bits of two trainings, step by step: how many differ, as claims decide from them and show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.binary_filter.relations import Twins
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.rows import KEYS, records
from boundcheck.claims.shared.selection import CELL, cells_of
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure, Tables

COUNTS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)  # bits that are set in each byte
FIGURE_POINTS = 150
COLUMNS = (*KEYS, "twins", "training", "steps", "differing", "weights", "flips", "wrong", "first_wrong", "end")


def comparisons(tables: Tables, pairs: Sequence[Twins]) -> pd.DataFrame:
    """Each pair of cells that has the bits of both, by seed, at the steps that both recorded.

    Their training settings are equal, so that the steps are the same ones.

    Returns:
        A row for each pair and seed. Its keys are those of a check's row: `method` names both methods, `step` is the
        first recorded one at which a bit differs, or else the last. Besides: `twins`; `training`, the settings of both;
        `differing`, (T,), the share of weights whose bits differ after each of the recorded `steps`, and `end`, the
        last one in percent; the number of `weights`, and of `flips` of the first run; `wrong`, the bits that differ,
        summed over all recorded steps; `first_wrong`, the step if one does, or else NaN.
    """
    cells = cells_of(tables.runs[tables.runs["status"] == "done"])
    rows: list[tuple[Any, ...]] = []
    for first, second in pairs:
        if first not in cells or second not in cells:
            continue
        training, names = cells[first]["training"], (*first[:2], f"{first[2]} | {second[2]}")
        mine, theirs = (tables.arrays(*key, "bits") for key in (first, second))
        for seed in sorted(mine.keys() & theirs.keys()):
            compared = _compared(mine[seed], theirs[seed])
            steps, *_, first_wrong, _ = compared
            decided_at = int(steps[-1] if np.isnan(first_wrong) else first_wrong)
            rows.append((*names, seed, decided_at, float(training["epochs"]), (first, second), training, *compared))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _compared(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    """Of the bits of two runs the columns from `steps` on."""
    steps, in_a, in_b = np.intersect1d(a["steps"], b["steps"], return_indices=True)
    bits_a, bits_b, weights = a["bits"][in_a], b["bits"][in_b], int(a["num_weights"])  # bits: (T, bytes)
    differing = COUNTS[bits_a ^ bits_b].sum(1) / weights
    flips = int(COUNTS[bits_a[1:] ^ bits_a[:-1]].sum())
    wrong = round(float(differing.sum()) * weights)
    first_wrong = float(steps[np.flatnonzero(differing)[0]]) if differing.any() else NAN
    return steps, differing, weights, flips, wrong, first_wrong, 100 * float(differing[-1])


def mismatch_table(compared: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each pair of cells: what was compared, flips, bits that differ, the first step with a mismatch.

    `recorded steps` is the number of steps after which bits were recorded. Flips and bits that differ are summed over
    these steps and over the n seeds.
    """
    groups = compared.groupby(list(CELL), sort=False)
    firsts = groups[["training", "steps", "weights"]].first()
    table = pd.DataFrame(
        {
            "lr": [training["lr_schedule"] for training in firsts["training"]],
            "precision": [training["precision"] for training in firsts["training"]],
            "n": groups.size(),
            "steps": [int(steps[-1]) for steps in firsts["steps"]],
            "recorded steps": [len(steps) - 1 for steps in firsts["steps"]],
            "weights": firsts["weights"],
            "flips": groups["flips"].sum(),
            "bits that differ": groups["wrong"].sum(),
            "first at step": groups["first_wrong"].min(),
            "differ at the end (%)": groups["end"].mean(),
        }
    )
    return records(table.reset_index())


def mismatch_figure(compared: pd.DataFrame) -> Figure:
    """The share of bits that differ by step, mean and range over seeds."""
    curves = []
    for run in compared.to_dict("records"):
        steps, differing = run["steps"], run["differing"]
        keep = np.unique(np.linspace(0, len(steps) - 1, FIGURE_POINTS).astype(int))
        points = pd.DataFrame({"x": steps[keep].astype(float), "value": 100 * differing[keep]})
        curves.append(points.assign(panel=f"{run['dataset']} · {run['model']}", series=run["method"]))
    caption = "Share of bits that differ between two trainings: mean over seeds; the band is their range."
    return Figure(averaged(pd.concat(curves)), "line", "step", "bits that differ (%)", caption)
