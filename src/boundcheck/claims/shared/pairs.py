"""From tidy tables to the paired values of a comparison: two methods, equal dataset, model and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.shared.rows import RUN

if TYPE_CHECKING:
    import pandas as pd

    from boundcheck.verdicts import Tables

At = str | float  # "last", "best", or an epoch
RunKey = tuple[str, str, str, int]


class AmbiguousValueError(ValueError):
    """A quantity has several values at one step of one run, and the claim does not say which."""


@dataclass(frozen=True)
class Cell:
    """One method against the baseline on one (dataset, model): values by seed, of finished runs."""

    dataset: str
    model: str
    method: str
    values: dict[int, float]
    baseline_values: dict[int, float]
    has_baseline: bool
    num_diverged: int  # of both methods

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.model}/{self.method}"

    @property
    def seeds(self) -> list[int]:
        """The seeds that both methods finished."""
        return sorted(self.values.keys() & self.baseline_values.keys())


def quantity_rows(
    tables: Tables,
    source: str,
    quantity: str,
    methods: Sequence[str],
    analysis: str | None = None,
    coordinate: float | None = None,
) -> pd.DataFrame:
    """The tidy rows of one quantity and these methods; of one analysis and one coordinate where they are given.

    Args:
        tables: the results.
        source: "curves" or "measurements".
        quantity: its name.
        methods: names of methods.
        analysis: whose measurements; None: any.
        coordinate: at which coordinate; None: any.
    """
    rows = tables.curves if source == "curves" else tables.measurements
    rows = rows[(rows["quantity"] == quantity) & rows["method"].isin(methods)]
    if analysis is not None:
        rows = rows[rows["analysis"] == analysis]
    if coordinate is not None:
        rows = rows[np.isclose(rows["coordinate"], coordinate, rtol=1e-6, atol=0)]
    return rows


def matching(names: Sequence[str], patterns: Sequence[str], baseline: str = "") -> list[str]:
    """The names, sorted, that a pattern matches; never the baseline."""
    return sorted({n for n in names if n != baseline and any(fnmatchcase(n, pattern) for pattern in patterns)})


def run_values(rows: pd.DataFrame, runs: pd.DataFrame, at: At, higher_is_better: bool) -> dict[RunKey, float]:
    """One value per finished run, by (dataset, model, method, seed).

    Args:
        rows: tidy rows of one quantity, with at most one finite value per run and step.
        runs: the table of runs; those not done are left out.
        at: "last" recorded, "best" recorded, or the value at that epoch.
        higher_is_better: what best means.

    Raises:
        AmbiguousValueError: a run has several values at one step.
    """
    done = runs.loc[runs["status"] == "done", list(RUN)]
    rows = rows[np.isfinite(rows["value"])].merge(done, on=list(RUN))
    if rows.duplicated([*RUN, "step"]).any():
        raise AmbiguousValueError("it has several values at one step; name the coordinate or the analysis")
    if at not in ("last", "best"):
        rows = rows[np.isclose(rows["epoch"], float(at), rtol=0, atol=1e-9)]
    which = "last" if at != "best" else "max" if higher_is_better else "min"
    found = rows.sort_values("step", kind="stable").groupby(list(RUN))["value"].agg(which).reset_index()
    columns = (found[name] for name in (*RUN, "value"))
    return {(d, m, method, int(seed)): float(value) for d, m, method, seed, value in zip(*columns, strict=True)}


def paired_cells(
    values: Mapping[RunKey, float], runs: pd.DataFrame, methods: Sequence[str], baseline: str
) -> list[Cell]:
    """A cell for each planned (dataset, model, method), sorted, whether or not its runs ended well."""
    cells = zip(runs["dataset"], runs["model"], runs["method"], strict=True)
    statuses = Counter(zip(cells, runs["status"], strict=True))
    planned = sorted({cell for cell, _ in statuses})
    by_cell: dict[tuple[str, str, str], dict[int, float]] = {cell: {} for cell in planned}
    for (dataset, model, method, seed), value in values.items():
        by_cell[dataset, model, method][seed] = value
    return [
        Cell(
            dataset,
            model,
            method,
            values=by_cell[dataset, model, method],
            baseline_values=by_cell.get((dataset, model, baseline), {}),
            has_baseline=(dataset, model, baseline) in by_cell,
            num_diverged=sum(statuses[(dataset, model, name), "diverged"] for name in (method, baseline)),
        )
        for dataset, model, method in planned
        if method in methods
    ]


def absences(runs: pd.DataFrame) -> str:
    """What is not there, with the seeds: "2 runs diverged (mnist5k/mlp/sam 0, 2)"; "" when all runs are done."""
    parts = []
    for status in ("diverged", "missing"):
        absent = runs[runs["status"] == status]
        if len(absent):
            cells = absent.groupby(absent["dataset"] + "/" + absent["model"] + "/" + absent["method"])["seed"]
            names = "; ".join(f"{cell} {', '.join(map(str, sorted(seeds)))}" for cell, seeds in cells)
            parts.append(f"{len(absent)} {'run' if len(absent) == 1 else 'runs'} {status} ({names})")
    return "; ".join(parts)
