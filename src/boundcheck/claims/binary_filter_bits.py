"""Bits of two trainings compared step by step: where theory says that they are the same, and where not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from boundcheck.claims.pairs import absences
from boundcheck.claims.rows import check_rows
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[str, str]
COUNTS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)
FIGURE_POINTS = 150


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

    @property
    def label(self) -> str:
        """What the comparison is called in tables and figures."""
        return f"{self.pair[0]} | {self.pair[1]}"

    @property
    def mismatches(self) -> int:
        """Bits that differ, over all recorded steps."""
        return round(float(self.differing.sum()) * self.num_weights)

    @property
    def first_mismatch(self) -> float:
        """The first recorded step at which a bit differs; NaN if none does."""
        where = np.flatnonzero(self.differing)
        return float(self.steps[where[0]]) if len(where) else NAN


def comparisons(tables: Tables, pairs: Sequence[Sequence[str]]) -> Iterator[Comparison]:
    """Each pair of methods on each (dataset, model) that has the bits of both, by seed; steps that both recorded."""
    cells = tables.runs.loc[tables.runs["status"] == "done", ["dataset", "model"]].drop_duplicates()
    for dataset, model in sorted(cells.itertuples(index=False, name=None)):
        for first, second in pairs:
            a, b = (tables.arrays(dataset, model, method, "bits") for method in (first, second))
            for seed in sorted(a.keys() & b.keys()):
                yield _compared((dataset, model, (first, second), seed), a[seed], b[seed])


def _compared(keys: tuple[str, str, Pair, int], a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> Comparison:
    steps, in_a, in_b = np.intersect1d(a["steps"], b["steps"], return_indices=True)
    bits_a, bits_b = a["bits"][in_a], b["bits"][in_b]  # (T, bytes)
    num = int(a["num_weights"])
    differing = COUNTS[bits_a ^ bits_b].sum(1) / num
    flips = int(COUNTS[bits_a[1:] ^ bits_a[:-1]].sum())
    return Comparison(*keys, steps, differing, num, flips)


@dataclass(frozen=True)
class SameBits:
    """Two trainings have the same bits at every step: a row per pair, cell and seed, bound 0 on the differing share.

    The premise is that of the mapping table: identity straight-through gradient, no active clipping, no scaling of
    form 2, and (`needs_float64`) double precision, as float32 may decide a near-tie either way. The coordinate is the
    first step at which a bit differs.

    Args:
        pairs: names of two methods each.
        theorem: what is stated, for the report.
        needs_float64: false where both trainings do the same arithmetic up to powers of two.
    """

    pairs: Sequence[Sequence[str]]
    theorem: str = "share of differing bits = 0"
    needs_float64: bool = True

    def __post_init__(self) -> None:
        check_pairs(self.pairs)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """See Check."""
        import pandas as pd

        found = list(comparisons(tables, self.pairs))
        keys = pd.DataFrame(
            [(c.dataset, c.model, c.label, c.seed, int(c.steps[-1]), NAN) for c in found],
            columns=["dataset", "model", "method", "seed", "step", "epoch"],
        )
        premises = [self._premise(tables, c) for c in found]
        return check_rows(
            keys,
            self.theorem,
            "upper",
            bound=0.0,
            measured=[float(c.differing.mean()) for c in found],
            premise_holds=np.array(premises, dtype=bool),
            coordinate=[c.first_mismatch for c in found],
        )

    def _premise(self, tables: Tables, found: Comparison) -> bool:
        runs = tables.runs
        where = (runs["dataset"] == found.dataset) & (runs["model"] == found.model) & (runs["seed"] == found.seed)
        mine = runs[where & runs["method"].isin(found.pair)]
        model = mine["model_spec"].iloc[0]
        scaling, epsilon = model.get("scaling", "none"), model.get("batch_norm_eps", 1e-5)
        is_plain = model.get("weight_gradient", "identity") == "identity"
        is_plain &= scaling == "none" or (scaling == "form_1" and epsilon < 1e-20)
        precise = not self.needs_float64 or all(t["precision"] == "float64" for t in mine["training"])
        clipped = [m for m, spec in zip(mine["method"], mine["method_spec"], strict=True) if spec.get("clip")]
        return is_plain and precise and all(self._never_large(tables, found, method) for method in clipped)

    def _never_large(self, tables: Tables, found: Comparison, method: str) -> bool:
        c = tables.curves
        mine = (c["dataset"] == found.dataset) & (c["model"] == found.model) & (c["seed"] == found.seed)
        largest = c.loc[mine & (c["method"] == method) & (c["quantity"] == "largest_latent"), "value"]
        return bool(len(largest) and largest.max() < 1)


@dataclass(frozen=True)
class BitsDiffer:
    """Where theory says that an equivalence ends, bits differ: in every seed of every pair that was run.

    Args:
        statement: what is stated.
        reference: where.
        pairs: names of two methods each.
        models: models that count; none: all.
    """

    statement: str
    reference: str
    pairs: Sequence[Sequence[str]]
    models: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_pairs(self.pairs)

    def decide(self, tables: Tables) -> Verdict:
        """`supported` where bits differ in all, `contradicted` where they do not differ in one."""
        found = [c for c in comparisons(tables, self.pairs) if not self.models or c.model in self.models]
        if not found:
            return Verdict("not run", absences(tables.runs) or "no pair has the bits of both methods")
        same = [c for c in found if c.mismatches == 0]
        firsts = [c.first_mismatch for c in found if c.mismatches]
        reason = f"bits differ in {len(found) - len(same)} of {len(found)} runs"
        if firsts:
            reason += f", first at steps {min(firsts):g} to {max(firsts):g}"
        ends = [100 * float(c.differing[-1]) for c in found]
        return Verdict(
            "contradicted" if same else "supported",
            reason,
            effect=float(np.mean(ends)),
            unit="% of bits at the end",
            num_runs=len({(c.dataset, c.model, c.pair, c.seed) for c in found}),
            cells=mismatch_table(found),
            figures=[mismatch_figure(found)],
        )


def mismatch_table(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row for each pair and cell: bits compared, flips, bits that differ, the first step of a mismatch."""
    groups: dict[Any, list[Comparison]] = {}
    for c in found:
        groups.setdefault((c.dataset, c.model, c.label), []).append(c)
    return [
        {
            "dataset": dataset,
            "model": model,
            "method": label,
            "n": len(group),
            "steps": int(group[0].steps[-1]),
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


def check_pairs(pairs: Sequence[Sequence[str]]) -> None:
    """Refuse what is no list of pairs of names, with a ValueError."""
    good = not isinstance(pairs, str) and len(pairs) > 0
    if not (good and all(not isinstance(pair, str) and len(pair) == 2 for pair in pairs)):
        raise ValueError(f"pairs: got {pairs!r}; allowed: a list of pairs of methods")
