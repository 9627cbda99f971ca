"""The law of where the curvature stops rising when the step size is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boundcheck.claims.dag_momentum.outcomes import by_seed, not_run, per_cell, pooled, verdict
from boundcheck.claims.dag_momentum.steps import momentum_steps
from boundcheck.claims.shared.equivalence import side_of_margin
from boundcheck.claims.shared.figures import COLUMNS, over_seeds
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.theory.dag_momentum.convergence import stability_plateau
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StabilityPlateau:
    """With a fixed step size the curvature rises until λ_max η hovers at 2(1 + β), β the effective momentum.

    An empirical law. Over the last third of each run, the mean of λ_max η over the measured steps is divided by the
    mean of 2(1 + β_k). `supported` where the interval of the pooled ratios lies within `margin` of 1, `contradicted`
    where it lies outside. The effect is ratio − 1, in percent.

    Args:
        statement: what is stated.
        reference: where it is.
        methods: names of methods; patterns are allowed.
        margin: of the ratio.
    """

    statement: str
    reference: str
    methods: Sequence[str]
    margin: float = 0.2

    def decide(self, tables: Tables) -> Verdict:
        """Compare the plateau of every run with the law."""
        steps = momentum_steps(tables, ["adaptive"], methods=self.methods)
        if not len(steps) or not steps["sharpness"].notna().any():
            return not_run("no curvature was recorded", tables)
        plateau = stability_plateau(steps["effective_momentum"])
        steps = steps.assign(level=steps["sharpness"] * steps["lr"], plateau=plateau)
        late = steps[steps["step"] >= 2 / 3 * steps.groupby(list(RUN))["step"].transform("max")]
        runs = late.groupby(list(RUN)).agg(level=("level", "mean"), plateau=("plateau", "mean")).reset_index()
        runs["ratio"] = 100 * (runs["level"] / runs["plateau"] - 1)
        evidence = [{**cell, **self._row(part)} for cell, part in per_cell(runs)]
        found = pooled(runs, "ratio")
        decision: Any = side_of_margin(found.mean, found.low, found.high, self.margin)
        if decision == "supported" and any(row["decision"] == "contradicted" for row in evidence):
            decision = "inconclusive"
        reason = f"{found.mean:+.3g}% from 2(1 + β), allowed ±{100 * self.margin:g}%"
        shown = [_plateau_figure(steps)]
        return verdict(decision, reason, found, "%", tables, None, cells=evidence, figures=shown)

    def _row(self, part: pd.DataFrame) -> dict[str, Any]:
        interval = student_interval(list(by_seed(part, "ratio").values()))
        row = {"λ_max η": part["level"].mean(), "2(1 + β)": part["plateau"].mean()}
        row |= {"effect": interval.mean, "low": interval.low, "high": interval.high, "n": len(part)}
        return {**row, "decision": side_of_margin(interval.mean, interval.low, interval.high, self.margin)}


def _plateau_figure(steps: pd.DataFrame) -> Figure:
    import pandas as pd

    measured = steps[steps["level"].notna()]
    parts = [
        over_seeds(measured, x="step", y=name).assign(role=role)
        for name, role in (("level", "measured"), ("plateau", "bound"))
    ]
    caption = (
        "λ_max η (dots) and 2(1 + β) with the effective momentum β (dotted): means over seeds; bars are their range."
    )
    data = pd.concat(parts, ignore_index=True)
    # one panel per method: the plateaus of the methods lie close together
    return Figure(data.assign(panel=data["series"])[list(COLUMNS)], "line", "step", "λ_max η", caption)
