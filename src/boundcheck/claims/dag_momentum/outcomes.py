"""From what was found of every run to a verdict: a row per run, the evidence of every cell, the pooled effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from boundcheck.claims.dag_momentum.steps import CELL, joined
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import Interval, pool, student_interval
from boundcheck.verdicts import Decision, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


def per_run(steps: pd.DataFrame, describe: Callable[[pd.DataFrame], Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each run: its keys, and what `describe` says of its steps."""
    import pandas as pd

    runs = steps.groupby(list(RUN))
    return pd.DataFrame([{**dict(zip(RUN, run, strict=True)), **describe(part)} for run, part in runs])


def per_cell(runs: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The names of every cell, and the rows of its runs."""
    for cell, part in runs.groupby(list(CELL)):
        yield dict(zip(CELL, cell, strict=True)), part


def by_seed(runs: pd.DataFrame, effect: str) -> dict[int, float]:
    """A column of the runs of one cell, by seed."""
    return dict(zip(runs["seed"], runs[effect], strict=True))


def pooled(runs: pd.DataFrame, effect: str) -> Interval:
    """The interval of per-seed means over the cells."""
    return student_interval(list(pool([by_seed(part, effect) for _, part in per_cell(runs)]).values()))


def verdict(
    decision: Decision, reason: str, effect: Interval, unit: str, tables: Tables, methods: Any, **more: Any
) -> Verdict:
    """A verdict whose reason also says which runs of these methods are not there.

    Args:
        decision: what is decided.
        reason: why.
        effect: the pooled effect.
        unit: of the effect.
        tables: the results.
        methods: names of methods; None: all.
        more: other fields of the verdict.
    """
    runs = tables.runs if methods is None else tables.runs[tables.runs["method"].isin(methods)]
    reason = joined(reason, absences(runs))
    return Verdict(decision, reason, effect.mean, effect.low, effect.high, unit=unit, num_runs=effect.num, **more)


def not_run(reason: str, tables: Tables) -> Verdict:
    """Nothing can be decided, also for want of the runs that are named."""
    return Verdict("not run", joined(reason, absences(tables.runs)))
