"""The step size that is certified before the first step: whether it is of any use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.dag_momentum.outcomes import per_cell, per_run, pooled
from boundcheck.claims.dag_momentum.steps import energy_tolerance, momentum_steps
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import ShareBelowOne, settings
from boundcheck.theory.dag_momentum.convergence import weight_bound
from boundcheck.verdicts import Reason, Tables, Verdict, because


@settings(kw_only=True)
class CertifiedMode(SelectsCells):
    """With weight decay and the step size of L(R) the loss falls at every step, and nothing had to be measured for it.

    `contradicted` where E_λ rises, ‖w‖ exceeds R or a measured curvature exceeds L(R); else `vacuous` where some cell's
    E_λ falls by less than `least_progress` in the whole run, for a guarantee of standing still says nothing; else
    `supported`. The effect is by how much E_λ falls, in percent of E_λ(w⁰).

    Args:
        least_progress: share of E_λ(w⁰).
    """

    least_progress: ShareBelowOne = 0.05

    def decide(self, tables: Tables) -> Verdict:
        """Hold every run to its guarantee, and say how far the loss fell."""
        tables = self.only_runs(tables)
        steps, absent = momentum_steps(tables, ["adaptive"]), absent_runs(tables.runs)
        steps = steps[(steps["weight_decay"] > 0) & steps["curvature"].notna()]
        if not len(steps):
            return Verdict("not run", [because("no_steps_with_decay"), *absent])
        runs = per_run(steps, _guarantee)
        evidence = [{**cell, **self._row(part)} for cell, part in per_cell(runs)]
        decisions = [row["decision"] for row in evidence]
        rows = tables.curves[tables.curves["quantity"] == "objective"].merge(runs[list(RUN)], on=list(RUN))
        figure = curve_figure(rows, tables.runs, "objective")
        return Verdict(
            next((d for d in ("contradicted", "vacuous") if d in decisions), "supported"),
            [*map(_guaranteed, evidence), *absent],
            **pooled(runs, "E falls (%)").as_effect("% of E_λ(w⁰)"),
            tightness=float((runs["L(R)"] / runs["largest λ_max"]).median()),
            cells=evidence,
            figures=[] if figure is None else [figure],
        )

    def _row(self, part: pd.DataFrame) -> dict[str, Any]:
        kept = (part["rises"] == 0) & (part["‖w‖/R"] <= 1 + 1e-9) & (part["L(R)"] >= part["largest λ_max"])
        moves = (part["E falls (%)"] >= 100 * self.least_progress).all()
        means = {name: float(part[name].mean()) for name in ("η", "L(R)", "largest λ_max", "E falls (%)", "steps")}
        row: dict[str, Any] = {**means, "rises": int(part["rises"].sum()), "‖w‖/R": part["‖w‖/R"].max()}
        row["steps for the least progress"] = _steps_needed(part, self.least_progress)
        decision = "contradicted" if not kept.all() else "supported" if moves else "vacuous"
        return {**row, "n": len(part), "decision": decision}


def _guarantee(part: pd.DataFrame) -> dict[str, Any]:
    """The step size and bound of a run, what was measured, and how far E fell."""
    E = part["objective"].to_numpy(np.float64)
    return {
        "η": part["lr"].iloc[-1],
        "L(R)": part["assumed_curvature"].max(),
        "largest λ_max": part["local_curvature"].max(),
        "rises": int((-part["decrease"].to_numpy(np.float64) > energy_tolerance(part)).sum()),
        "‖w‖/R": part["parameter_norm"].max() / float(weight_bound(E[0], part["weight_decay"].iloc[0])),
        "E falls (%)": 100 * (1 - E[-1] / E[0]),
        "steps": part["step"].iloc[-1],
    }


def _steps_needed(part: pd.DataFrame, share: float) -> float:
    """Steps until E has fallen by a share, if it went on falling as fast as it did on average."""
    fallen = part["E falls (%)"].mean()
    return float(part["steps"].mean() * 100 * share / fallen) if fallen > 0 else math.inf


def _guaranteed(row: dict[str, Any]) -> Reason:
    """What a cell did under its guarantee."""
    looseness = row["L(R)"] / row["largest λ_max"]
    numbers = {"lr": row["η"], "bound": row["L(R)"], "looseness": looseness, "rises": row["rises"]}
    return because("guaranteed", model=row["model"], **numbers, falls=row["E falls (%)"], num_steps=row["steps"])
