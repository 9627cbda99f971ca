"""The law of where the curvature stops rising when the step size is fixed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from boundcheck.claims.dag_momentum.outcomes import per_cell, pooled
from boundcheck.claims.dag_momentum.steps import momentum_steps
from boundcheck.claims.shared.decision import side_of_margin
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import InnerShare, settings
from boundcheck.theory.dag_momentum.convergence import stability_plateau
from boundcheck.verdicts import Figure, Tables, Verdict, because


@settings(kw_only=True)
class StabilityPlateau(SelectsCells):
    """With a fixed step size the curvature rises until λ_max η hovers at 2(1 + β), β the effective momentum.

    An empirical law. Over the last third of each run, the mean of λ_max η over the measured steps is divided by the
    mean of 2(1 + β_k). `supported` where the interval of the pooled ratios lies within `margin` of 1, `contradicted`
    where it lies outside. The effect is ratio − 1, in percent.

    Args:
        margin: of the ratio.
    """

    margin: InnerShare = 0.2

    def decide(self, tables: Tables) -> Verdict:
        """Compare the plateau of every run with the law."""
        tables = self.only_runs(tables)
        steps, absent = momentum_steps(tables, ["adaptive"]), absent_runs(tables.runs)
        if not len(steps) or not steps["sharpness"].notna().any():
            return Verdict("not run", [because("no_curvature"), *absent])
        plateau = stability_plateau(steps["effective_momentum"])
        steps = steps.assign(level=steps["sharpness"] * steps["lr"], plateau=plateau)
        late = steps[steps["step"] >= 2 / 3 * steps.groupby(list(RUN))["step"].transform("max")]
        runs = late.groupby(list(RUN)).agg(level=("level", "mean"), plateau=("plateau", "mean")).reset_index()
        runs["ratio"] = 100 * (runs["level"] / runs["plateau"] - 1)
        evidence = [{**cell, **self._row(part)} for cell, part in per_cell(runs)]
        ratio = pooled(runs, "ratio")
        decision = side_of_margin(*ratio[:3], self.margin)
        if decision == "supported" and any(row["decision"] == "contradicted" for row in evidence):
            decision = "inconclusive"
        reason = because("plateau", effect=ratio.mean, margin=100 * self.margin)
        shown = [_plateau_figure(steps)]
        return Verdict(decision, [reason, *absent], **ratio.as_effect("%"), cells=evidence, figures=shown)

    def _row(self, part: pd.DataFrame) -> dict[str, Any]:
        interval = student_interval(part["ratio"])
        row = {"λ_max η": part["level"].mean(), "2(1 + β)": part["plateau"].mean(), **interval.as_evidence()}
        return {**row, "decision": side_of_margin(*interval[:3], self.margin)}


def _plateau_figure(steps: pd.DataFrame) -> Figure:
    measured = steps[steps["level"].notna()]
    parts = [averaged(measured, "level", x="step"), averaged(measured, "plateau", "bound", x="step")]
    caption = (
        "λ_max η (dots) and 2(1 + β) with the effective momentum β (dotted): means over seeds; bars are their range."
    )
    data = pd.concat(parts, ignore_index=True)
    # one panel per method: the plateaus of the methods lie close together
    return Figure(data.assign(panel=data["series"]), "line", "step", "λ_max η", caption)
