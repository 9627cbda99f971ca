"""The claim that the weights converge, as far as a finite run can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.dag_momentum.figures import course_figure
from boundcheck.claims.dag_momentum.kl import kl_exponent, local_kl_exponents
from boundcheck.claims.dag_momentum.outcomes import per_cell, per_run, pooled
from boundcheck.claims.dag_momentum.steps import momentum_steps
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import Positive, settings
from boundcheck.verdicts import Figure, Tables, Verdict, because


@settings(kw_only=True)
class WeightsConverge(SelectsCells):
    """The weights converge to one point: the path has finite length, and the loss falls as its KL exponent says.

    No finite run can refute it, so it is `supported` or `inconclusive`. Supported where in every run the second half
    holds at most `tail_share` of the path, the exponent θ of ‖g‖ ~ (E − E_end)^θ over the middle of the descent is in
    [0.45, 1) (a smaller one means that E_end is not the limit yet), ‖g‖ has fallen to `stationary` of its start, and
    the run does not end at a saddle, which can hold it for very long. "Minimum" is said only where the smallest Hessian
    eigenvalue at the end, the penalty of weight decay included, is positive beyond its error, and "saddle" where it is
    negative beyond it. The effect is the share of the second half, in percent.

    Args:
        tail_share: of the path, for its second half.
        stationary: the last ‖g‖ over the first up to which a run has come to a stationary point.
    """

    tail_share: Positive = 0.02
    stationary: Positive = 1e-3

    def decide(self, tables: Tables) -> Verdict:
        """Measure how far the weights still move at the end of each run."""
        tables = self.only_runs(tables)
        steps, absent = momentum_steps(tables), absent_runs(tables.runs)
        if not len(steps):
            return Verdict("not run", [because("no_steps"), *absent])
        lowest = _last_eigenvalues(tables)
        runs = per_run(steps, lambda part: self._end(part, lowest))
        num, points = int(runs["converged"].sum()), runs["point"].value_counts().sort_index()
        limits = {"tail_percent": 100 * self.tail_share, "stationary": self.stationary}
        ends = {str(name): int(count) for name, count in points.items()}
        return Verdict(
            "supported" if num == len(runs) else "inconclusive",
            [because("converged", num=num, num_runs=len(runs), ends=ends, **limits), *absent],
            **pooled(runs, "tail share (%)").as_effect("% of the path"),
            cells=[_row(cell, part) for cell, part in per_cell(runs)],
            figures=_path_figures(steps),
        )

    def _end(self, part: pd.DataFrame, lowest: Mapping[Any, tuple[float, float]]) -> dict[str, Any]:
        """How a run ends: the share of its second half, its exponent, and the point that it comes to."""
        value, error = lowest.get(tuple(part[list(RUN)].iloc[0]), (math.nan, math.nan))
        value += part["weight_decay"].iloc[0]  # the spectrum is that of the loss without its penalty
        lengths, norms = (part[name].to_numpy(np.float64) for name in ("update_norm", "gradient_norm"))
        tail, theta = lengths[len(lengths) // 2 :].sum() / lengths.sum(), kl_exponent(part)
        point = _point(value, error) if norms[-1] <= self.stationary * norms[0] else "not stationary"
        is_there = point not in ("saddle", "not stationary")
        return {
            "tail share (%)": 100 * tail,
            "KL exponent": theta,
            "last ‖g‖": norms[-1],
            "λ_min": value,
            "point": point,
            "converged": tail <= self.tail_share and 0.45 <= theta < 1 and is_there,
        }


def _row(cell: dict[str, Any], part: pd.DataFrame) -> dict[str, Any]:
    """The evidence of a cell."""
    row = {**cell, **{name: part[name].mean() for name in ("tail share (%)", "KL exponent", "last ‖g‖")}}
    row |= {"least λ_min": part["λ_min"].min(), "points": ", ".join(sorted(set(part["point"])))}
    return {**row, "n": len(part), "decision": "supported" if part["converged"].all() else "inconclusive"}


def _point(smallest_eigenvalue: float, error: float) -> str:
    """What a stationary point is, as far as the smallest eigenvalue and its error tell."""
    if math.isnan(smallest_eigenvalue):
        return "not measured"
    if abs(smallest_eigenvalue) <= error:
        return "undecided"
    return "minimum" if smallest_eigenvalue > 0 else "saddle"


def _last_eigenvalues(tables: Tables) -> dict[Any, tuple[float, float]]:
    """λ_min with its error at the last snapshot of each run."""
    rows = tables.measurements[tables.measurements["quantity"] == "smallest_eigenvalue"].sort_values("step")
    last = rows.groupby(list(RUN)).tail(1)
    keys = zip(*(last[name] for name in RUN), strict=True)
    return dict(zip(keys, zip(last["value"], last["error"], strict=True), strict=True))


def _path_figures(steps: pd.DataFrame) -> list[Figure]:
    names = {
        "path_length": "length of the path",
        "objective": "E",
        "gradient_norm": "‖g‖",
        "lowest_curvature": "lowest Ritz value ≥ λ_min",
    }
    figures = [course_figure(steps, name, label) for name, label in names.items() if steps[name].notna().any()]
    return [*figures, *filter(None, [_exponent_figure(steps)])]


def _exponent_figure(steps: pd.DataFrame) -> Figure | None:
    """θ by decade of the gap, and the least θ = 1/2 that a limit allows; None where no run gives one."""
    rows = [(*run, *of_decade) for run, part in steps.groupby(list(RUN)) for of_decade in local_kl_exponents(part)]
    if not rows:
        return None
    exponents = pd.DataFrame(rows, columns=[*RUN, "x", "step", "theta"])
    measured = averaged(exponents, "theta")
    data = pd.concat([measured, measured.assign(role="lower bound", y=0.5)], ignore_index=True)
    caption = (
        "KL exponent θ of ‖g‖ ~ (E − E_end)^θ in every decade of the gap (dots; bars: the range of the seeds). Near a "
        "limit it is at least 1/2 (dash-dotted); below it the run has not converged."
    )
    return Figure(data, "line", "(E − E_end)/(E_0 − E_end)", "θ", caption, log_x=True)
