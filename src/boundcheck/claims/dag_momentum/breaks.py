"""The claim that the descent breaks beyond the limit of the step size, and within it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.dag_momentum.outcomes import by_seed, not_run, per_cell, per_run, verdict
from boundcheck.claims.dag_momentum.steps import energy_tolerance, momentum_steps, sampling
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.statistics import pool, student_interval
from boundcheck.theory.dag_momentum.baselines import heavy_ball_step_limit
from boundcheck.theory.dag_momentum.step import step_limit
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

SEED = ["dataset", "model", "seed"]
LIMITS = {"adaptive": step_limit, "heavy_ball": heavy_ball_step_limit}  # of η, from L and the number of the law
MEANS = ("rises", "steps", "first rise", "last E / first E")  # columns of the evidence


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
        both = [momentum_steps(tables, methods=names) for names in (self.methods, self.certified)]
        if not all(len(steps) for steps in both):
            return not_run("no steps were recorded of both sides", tables)
        least = both[1].groupby(SEED)["curvature"].min()
        beyond, within = (per_run(steps, lambda part: _rises(part, least)) for steps in both)
        evidence = [*_evidence(beyond, "beyond"), *_evidence(within, "within")]
        shares = [by_seed(part, "share of rises") for _, part in per_cell(beyond)]
        decision, reason = self._decided(beyond, within, sampling(both[1]))
        sides = {cell["method"]: cell["side"] for cell in evidence}
        return verdict(
            decision,
            reason,
            student_interval(list(pool(shares).values())),
            "% of steps",
            tables,
            list(sides),
            cells=evidence,
            figures=_figures(tables, sides),
        )

    def _decided(self, beyond: pd.DataFrame, within: pd.DataFrame, sampled: str) -> tuple[Decision, str]:
        num_broken, num_kept = int((beyond["rises"] > 0).sum()), int((within["rises"] == 0).sum())
        reason = (
            f"{num_broken} of {len(beyond)} runs beyond the limit rise, {num_kept} of {len(within)} within never do; "
            f"within, {sampled}"
        )
        nearest = float(beyond["η/limit"].min())
        is_short = nearest < self.times
        if is_short:
            reason += f"; the least known η/limit of those beyond is {nearest:.3g}, below {self.times:g}"
        if num_kept < len(within) or not (num_broken or is_short):
            return "contradicted", reason
        return ("supported" if num_broken == len(beyond) and not is_short else "inconclusive"), reason


def _rises(part: pd.DataFrame, least: pd.Series) -> dict[str, Any]:
    """At how many steps of a run E rises, and how far."""
    E, rise = part["objective"].to_numpy(np.float64), -part["decrease"].to_numpy(np.float64)
    is_rise = rise > energy_tolerance(part)
    num, num_steps = int(is_rise.sum()), int(np.isfinite(rise).sum())
    return {
        "rises": num,
        "steps": num_steps,
        "share of rises": 100 * num / num_steps,
        "first rise": float(part["step"].to_numpy()[is_rise].min()) if num else math.nan,
        "largest rise": float(rise[is_rise].max()) if num else 0.0,
        "last E / first E": E[-1] / E[0],
        "last ‖g‖²": float(part["gradient_norm"].iloc[-1]) ** 2,
        "η/limit": _over_limit(part, least),
    }


def _over_limit(part: pd.DataFrame, least: pd.Series) -> float:
    """η/limit of one run; NaN where its limit is not known."""
    first, own = part.iloc[0], part["assumed_curvature"].dropna()
    L = own.iloc[-1] if len(own) else least.get(tuple(first[key] for key in SEED), math.nan)
    if first["rule"] not in LIMITS or not L > 0:
        return math.nan
    number = first["s"] if first["rule"] == "adaptive" else first["momentum"]
    return float(part["lr"].iloc[-1] / LIMITS[first["rule"]](L, number))


def _evidence(runs: pd.DataFrame, side: str) -> list[dict[str, Any]]:
    """A row for every cell of one side of the limit."""
    evidence = []
    for cell, part in per_cell(runs):
        is_as_stated = (part["rises"] > 0).all() if side == "beyond" else (part["rises"] == 0).all()
        row = {**cell, "side": side, "least η/limit": part["η/limit"].min(), "largest η/limit": part["η/limit"].max()}
        row |= {name: part[name].mean() for name in MEANS}
        row |= {"largest rise": part["largest rise"].max(), "last ‖g‖²": part["last ‖g‖²"].mean()}
        evidence.append({**row, "n": len(part), "decision": "supported" if is_as_stated else "contradicted"})
    return evidence


def _figures(tables: Tables, sides: Mapping[str, str]) -> list[Figure]:
    rows = tables.curves[tables.curves["method"].isin(list(sides))]
    shown = (("objective", "objective"), ("gradient_norm", "gradient norm"))
    figures = [curve_figure(rows[rows["quantity"] == name], tables.runs, label) for name, label in shown]
    return [_by_side(figure, sides) for figure in figures if figure is not None]


def _by_side(figure: Figure, sides: Mapping[str, str]) -> Figure:
    """The courses of a quantity, those within the limit and those beyond it in panels of their own."""
    data = figure.data
    panels = [f"{panel}: {sides[series]}" for panel, series in zip(data["panel"], data["series"], strict=True)]
    return replace(figure, data=data.assign(panel=panels), log_y=bool((data["y"] > 0).all()))
