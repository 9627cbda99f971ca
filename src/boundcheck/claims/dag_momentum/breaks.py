"""The claim that the descent breaks beyond the limit of the step size, and within it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.dag_momentum.steps import (
    ADAPTIVE,
    CELL,
    HEAVY_BALL,
    KINDS,
    energy_tolerance,
    joined,
    momentum_steps,
    sampling,
)
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import pool, student_interval
from boundcheck.theory.dag_momentum.baselines import heavy_ball_step_limit
from boundcheck.theory.dag_momentum.step import step_limit
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


SEED = ("dataset", "model", "seed")


@dataclass(frozen=True)
class DescentBreaks:
    """Beyond the limit of the step size, or with a constant momentum, the loss rises; within it, it never does.

    `supported` where every run of `methods` has a rise and no run of `certified` has one; `contradicted` where a
    certified run has one, or no run of `methods` has; else `inconclusive`, and also where a run of `methods` is known
    to be at less than `times` its limit, unless a certified one rises. The effect is the share of steps of
    `methods` at which E rises, in percent, per-seed means over the cells. η/limit is with the L̂ of the run's own
    certificate, else with the least of the certified runs of its seed, whose limit is the largest; the limit of
    Nesterov's method is not known here.

    Args:
        statement: what the paper, or its theory, states.
        reference: where it does.
        methods: names of methods beyond the limit; patterns are allowed.
        certified: names of methods within it.
        times: how far beyond the limit every run of `methods` is stated to be whose η/limit is known.
    """

    statement: str
    reference: str
    methods: Sequence[str]
    certified: Sequence[str]
    times: float = 1.0

    def __post_init__(self) -> None:
        if not self.times >= 1:
            raise ValueError(f"times: got {self.times}; allowed: ≥ 1")

    def decide(self, tables: Tables) -> Verdict:
        """Count the steps at which E rises by more than rounding."""
        both = [momentum_steps(tables, KINDS, methods=names) for names in (self.methods, self.certified)]
        if not all(len(steps) for steps in both):
            return Verdict("not run", joined("no steps were recorded of both sides", absences(tables.runs)))
        least = both[1].groupby(list(SEED))["curvature"].min()
        beyond, within = (_rises(steps, least, _limits(tables.runs)) for steps in both)
        evidence, shares = [], []
        for is_beyond, runs in ((True, beyond), (False, within)):
            for cell, part in runs.groupby(list(CELL)):
                as_stated = (part["rises"] > 0).all() if is_beyond else (part["rises"] == 0).all()
                row = {**dict(zip(CELL, cell, strict=True)), "side": "beyond" if is_beyond else "within"}
                row |= {"least η/limit": part["η/limit"].min(), "largest η/limit": part["η/limit"].max()}
                row |= {name: part[name].mean() for name in ("rises", "steps", "first rise", "last E / first E")}
                row |= {"largest rise": part["largest rise"].max(), "last ‖g‖²": part["last ‖g‖²"].mean()}
                evidence.append({**row, "n": len(part), "decision": "supported" if as_stated else "contradicted"})
                if is_beyond:
                    percent = 100 * part["rises"] / part["steps"]
                    shares.append(dict(zip(part["seed"], percent, strict=True)))
        interval = student_interval(list(pool(shares).values()))
        num_broken, num_kept = int((beyond["rises"] > 0).sum()), int((within["rises"] == 0).sum())
        reason = (
            f"{num_broken} of {len(beyond)} runs beyond the limit rise, {num_kept} of {len(within)} within never do; "
            f"within, {sampling(both[1])}"
        )
        nearest = float(beyond["η/limit"].min())
        is_short = nearest < self.times
        if is_short:
            reason += f"; the least known η/limit of those beyond is {nearest:.3g}, below {self.times:g}"
        decision: Any = "inconclusive"
        if num_kept < len(within) or not (num_broken or is_short):
            decision = "contradicted"
        elif num_broken == len(beyond) and not is_short:
            decision = "supported"
        names = {cell["method"] for cell in evidence}
        rows = tables.curves[tables.curves["method"].isin(names)]
        sides = {str(cell["method"]): str(cell["side"]) for cell in evidence}
        shown = (("objective", "objective"), ("gradient_norm", "gradient norm"))
        figures = [_by_side(rows[rows["quantity"] == name], tables.runs, label, sides) for name, label in shown]
        relevant = tables.runs[tables.runs["method"].isin(names)]
        return Verdict(
            decision,
            joined(reason, absences(relevant)),
            interval.mean,
            interval.low,
            interval.high,
            unit="% of steps",
            num_runs=interval.num,
            cells=evidence,
            figures=[figure for figure in figures if figure is not None],
        )


def _by_side(rows: pd.DataFrame, runs: pd.DataFrame, name: str, sides: Mapping[str, str]) -> Figure | None:
    """The courses of a quantity, those within the limit and those beyond it in panels of their own."""
    figure = curve_figure(rows, runs, name)
    if figure is None:
        return None
    panels = [
        f"{panel}: {sides[series]}" for panel, series in zip(figure.data["panel"], figure.data["series"], strict=True)
    ]
    return replace(figure, data=figure.data.assign(panel=panels), log_y=bool((figure.data["y"] > 0).all()))


def _limits(runs: pd.DataFrame) -> dict[str, Any]:
    """By method, the limit of its step size as a function of L and of its number; none of Nesterov's."""
    kinds = {name: (spec or {}).get("kind") for name, spec in zip(runs["method"], runs["method_spec"], strict=True)}
    by_kind = {**dict.fromkeys(ADAPTIVE, step_limit), **dict.fromkeys(HEAVY_BALL, heavy_ball_step_limit)}
    return {name: by_kind[kind] for name, kind in kinds.items() if kind in by_kind}


def _over_limit(part: pd.DataFrame, least: pd.Series, limits: Mapping[str, Any]) -> float:
    """η/limit of one run."""
    first = part.iloc[0]
    own = part["assumed_curvature"].dropna()
    L = own.iloc[-1] if len(own) else least.get(tuple(first[key] for key in SEED), math.nan)
    number = first["momentum"] if math.isnan(first["s"]) else first["s"]
    if first["method"] not in limits or not L > 0:
        return math.nan
    return float(part["lr"].iloc[-1] / limits[first["method"]](L, number))


def _rises(steps: pd.DataFrame, least: pd.Series, limits: Mapping[str, Any]) -> pd.DataFrame:
    """One row per run: at how many steps E rises, and how far."""
    rows = []
    for run, part in steps.groupby(list(RUN)):
        E = part["objective"].to_numpy(np.float64)
        rise = -part["decrease"].to_numpy(np.float64)
        is_rise = rise > energy_tolerance(part)
        first = float(part["step"].to_numpy()[is_rise].min()) if is_rise.any() else math.nan
        largest = float(rise[is_rise].max()) if is_rise.any() else 0.0
        found = (int(is_rise.sum()), int(np.isfinite(rise).sum()), first, largest, E[-1] / E[0])
        g = float(part["gradient_norm"].iloc[-1])
        rows.append((*run, *found, g**2, _over_limit(part, least, limits)))
    columns = ("rises", "steps", "first rise", "largest rise", "last E / first E", "last ‖g‖²", "η/limit")
    return _frame(rows, [*RUN, *columns])


def _frame(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))
