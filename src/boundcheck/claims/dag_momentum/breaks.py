"""The claim that the descent breaks beyond the limit of the step size, and within it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Ge

from boundcheck.claims.dag_momentum.outcomes import per_cell, per_run, pooled
from boundcheck.claims.dag_momentum.steps import energy_tolerance, momentum_steps, sampling
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.selection import CellKey, Selector, SelectsCells, cells_of, only_runs
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import settings
from boundcheck.theory.dag_momentum.baselines import heavy_ball_step_limit
from boundcheck.theory.dag_momentum.step import step_limit
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because

SEED = ["dataset", "model", "seed"]
LIMITS = {"adaptive": step_limit, "heavy_ball": heavy_ball_step_limit}  # of η, from L and the number of the law
MEANS = ("rises", "steps", "first rise", "last E / first E")  # columns of the evidence


@settings(kw_only=True)
class DescentBreaks(SelectsCells):
    """Beyond the limit of the step size, or with a constant momentum, the loss rises; within it, it never does.

    The selected cells are those beyond the limit. `supported` where each of their runs has a rise and no certified run
    has one; `contradicted` where a certified run has one, or no run beyond the limit has; else `inconclusive`, and also
    where a run beyond the limit is known to be at less than `times` its limit, unless a certified one rises. The effect
    is the share of steps beyond the limit at which E rises, in percent, per-seed means over the cells. η/limit is with
    the L̂ of the run's own certificate, else with the least of the certified runs of its seed, whose limit is the
    largest; the limit of Nesterov's method is not known here.

    Args:
        certified: selector of recorders: the runs within the limit are those of the same datasets whose certificate it
            selects.
        times: how far beyond the limit every run is stated to be whose η/limit is known.
    """

    certified: Selector
    times: Annotated[float, Ge(1)] = 1.0

    def decide(self, tables: Tables) -> Verdict:
        """Count the steps at which E rises by more than rounding."""
        sides = self._sides(tables)
        both = [
            momentum_steps(only_runs(tables, [key for key, at in sides.items() if at == side]))
            for side in ("beyond", "within")
        ]
        tables = only_runs(tables, sides)
        absent = absent_runs(tables.runs)
        if not all(len(steps) for steps in both):
            return Verdict("not run", [because("no_steps_of_both_sides"), *absent])
        least = both[1].groupby(SEED)["curvature"].min()
        beyond, within = (per_run(steps, lambda part: _rises(part, least)) for steps in both)
        decision, reasons = self._decided(beyond, within)
        return Verdict(
            decision,
            [*reasons, sampling(both[1]), *absent],
            **pooled(beyond, "share of rises").as_effect("% of steps"),
            cells=[*_evidence(beyond, "beyond"), *_evidence(within, "within")],
            figures=_figures(tables, sides),
        )

    def _sides(self, tables: Tables) -> dict[CellKey, str]:
        """On which side of the limit the cells are that count."""
        cells = cells_of(tables.runs)
        beyond = self.chosen(cells)
        datasets = {key[0] for key in beyond}
        within = [key for key in SelectsCells(record=self.certified).chosen(cells) if key[0] in datasets]
        return {**dict.fromkeys(within, "within"), **dict.fromkeys(beyond, "beyond")}

    def _decided(self, beyond: pd.DataFrame, within: pd.DataFrame) -> tuple[Decision, list[Reason]]:
        num_broken, num_kept = int((beyond["rises"] > 0).sum()), int((within["rises"] == 0).sum())
        counts = {"num_broken": num_broken, "num_beyond": len(beyond), "num_kept": num_kept, "num_within": len(within)}
        nearest = float(beyond["η/limit"].min())
        is_short = nearest < self.times
        reasons = [because("breaks", **counts), because("nearest_limit", nearest=nearest, times=self.times)]
        if num_kept < len(within) or not (num_broken or is_short):
            return "contradicted", reasons
        return ("supported" if num_broken == len(beyond) and not is_short else "inconclusive"), reasons


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


def _figures(tables: Tables, sides: Mapping[CellKey, str]) -> list[Figure]:
    """The courses of the loss and of its gradient, both sides of the limit in panels of their own."""
    side_of = {(f"{dataset} · {model}", method): side for (dataset, model, method), side in sides.items()}
    figures = []
    for name, label in (("objective", "objective"), ("gradient_norm", "gradient norm")):
        figure = curve_figure(tables.curves[tables.curves["quantity"] == name], tables.runs, label)
        if figure is not None:
            data = figure.data
            panels = [f"{key[0]}: {side_of[key]}" for key in zip(data["panel"], data["series"], strict=True)]
            figures.append(replace(figure, data=data.assign(panel=panels), log_y=bool((data["y"] > 0).all())))
    return figures
