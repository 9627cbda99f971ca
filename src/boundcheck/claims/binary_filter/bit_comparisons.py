"""Bits of two trainings, step by step, as claims compare and show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure, Tables

Pair = tuple[str, str]
COUNTS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)
FIGURE_POINTS = 150
# what two trainings share if their steps are to be the same ones
SHARED = (
    *("epochs", "batch_size", "lr_schedule", "lr_update"),
    *("final_lr_factor", "warmup_epochs", "step_epochs", "step_factor"),
)


class Comparison(NamedTuple):
    """Two runs of one seed: `differing` (T,), the share of weights whose bits differ at each recorded step."""

    dataset: str
    model: str
    pair: Pair
    seed: int
    steps: np.ndarray
    differing: np.ndarray
    num_weights: int
    num_flips: int  # of the first one
    training: Mapping[str, Any]  # of the first one

    @property
    def label(self) -> str:
        """What the comparison is called in tables and figures."""
        return f"{self.pair[0]} | {self.pair[1]}"

    @property
    def mismatches(self) -> int:
        """Bits that differ, over all recorded steps."""
        return round(float(self.differing.sum()) * self.num_weights)

    @property
    def decided_at(self) -> int:
        """The first recorded step at which a bit differs, or else the last."""
        return int(self.steps[-1]) if np.isnan(self.first_mismatch) else int(self.first_mismatch)

    @property
    def first_mismatch(self) -> float:
        """The first recorded step at which a bit differs; NaN if none does."""
        where = np.flatnonzero(self.differing)
        return float(self.steps[where[0]]) if len(where) else NAN


def comparisons(tables: Tables, pairs: Sequence[Sequence[str]]) -> Iterator[Comparison]:
    """Each pair of methods on each (dataset, model) that has the bits of both, by seed; steps that both recorded.

    Raises:
        ValueError: two trainings have other epochs, batches or schedules, so that their steps are not the same ones.
    """
    done = tables.runs[tables.runs["status"] == "done"]
    trainings = dict(
        zip(zip(done["dataset"], done["model"], done["method"], strict=True), done["training"], strict=True)
    )
    for dataset, model in sorted({cell[:2] for cell in trainings}):
        for first, second in pairs:
            if (dataset, model, first) not in trainings or (dataset, model, second) not in trainings:
                continue
            training = trainings[dataset, model, first]
            _refuse_other_steps((dataset, model, first, second), training, trainings[dataset, model, second])
            a, b = (tables.arrays(dataset, model, method, "bits") for method in (first, second))
            for seed in sorted(a.keys() & b.keys()):
                yield _compared((dataset, model, (first, second), seed), a[seed], b[seed], training)


def _refuse_other_steps(names: tuple[str, str, str, str], a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    if other := [f"{key} {a.get(key)} and {b.get(key)}" for key in SHARED if a.get(key) != b.get(key)]:
        allowed = "trainings of one schedule, with equal epochs and batches"
        pair = "{}/{}/{} | {}".format(*names)
        raise ValueError(f"pairs: got {pair} with {', '.join(other)}; allowed: {allowed}")


def _compared(
    keys: tuple[str, str, Pair, int],
    a: Mapping[str, np.ndarray],
    b: Mapping[str, np.ndarray],
    training: Mapping[str, Any],
) -> Comparison:
    steps, in_a, in_b = np.intersect1d(a["steps"], b["steps"], return_indices=True)
    bits_a, bits_b = a["bits"][in_a], b["bits"][in_b]  # (T, bytes)
    num = int(a["num_weights"])
    differing = COUNTS[bits_a ^ bits_b].sum(1) / num
    flips = int(COUNTS[bits_a[1:] ^ bits_a[:-1]].sum())
    return Comparison(*keys, steps, differing, num, flips, training)


def mismatch_table(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row for each pair and cell: what was compared, flips, bits that differ, the first recorded step of a mismatch.

    `recorded steps` is the number of steps after which bits were recorded; flips and bits that differ are summed over
    them and over the n seeds.
    """
    groups: dict[Any, list[Comparison]] = {}
    for c in found:
        groups.setdefault((c.dataset, c.model, c.label), []).append(c)
    return [
        {
            "dataset": dataset,
            "model": model,
            "method": label,
            "lr": group[0].training["lr_schedule"],
            "precision": group[0].training["precision"],
            "n": len(group),
            "steps": int(group[0].steps[-1]),
            "recorded steps": len(group[0].steps) - 1,
            "weights": group[0].num_weights,
            "flips": sum(c.num_flips for c in group),
            "bits that differ": sum(c.mismatches for c in group),
            "first at step": float(np.nanmin(firsts)) if np.isfinite(firsts).any() else NAN,
            "differ at the end (%)": 100 * float(np.mean([c.differing[-1] for c in group])),
        }
        for (dataset, model, label), group in groups.items()
        if len(firsts := np.array([c.first_mismatch for c in group]))
    ]


def mismatch_figure(found: Sequence[Comparison]) -> Figure:
    """The share of differing bits by step, mean and range over seeds."""
    import pandas as pd

    rows = []
    for c in found:
        keep = np.unique(np.linspace(0, len(c.steps) - 1, FIGURE_POINTS).astype(int))
        panel = f"{c.dataset} · {c.model}"
        rows += [(panel, c.label, float(c.steps[i]), 100 * float(c.differing[i])) for i in keep]
    frame = pd.DataFrame(rows, columns=["panel", "series", "x", "value"])
    data = frame.groupby(["panel", "series", "x"])["value"].agg(y="mean", low="min", high="max").reset_index()
    data = data.assign(role="measured")[["panel", "series", "role", "x", "y", "low", "high"]]
    caption = "Share of bits that differ between two trainings: mean over seeds; the band is their range."
    return Figure(data, "line", "step", "bits that differ (%)", caption)
