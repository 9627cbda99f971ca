"""The law of where the curvature stops rising when the step size is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boundcheck.claims.dag_momentum.steps import ADAPTIVE, CELL, joined, momentum_steps
from boundcheck.claims.shared.equivalence import side_of_margin
from boundcheck.claims.shared.figures import COLUMNS, over_seeds
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import pool, student_interval
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
        steps = momentum_steps(tables, ADAPTIVE, methods=self.methods)
        if not len(steps) or not steps["sharpness"].notna().any():
            return Verdict("not run", joined("no curvature was recorded", absences(tables.runs)))
        steps = steps.assign(
            level=steps["sharpness"] * steps["lr"],
            plateau=stability_plateau(steps["effective_momentum"]),
        )
        late = steps[steps["step"] >= 2 / 3 * steps.groupby(list(RUN))["step"].transform("max")]
        runs = late.groupby(list(RUN)).agg(level=("level", "mean"), plateau=("plateau", "mean")).reset_index()
        runs["ratio"] = 100 * (runs["level"] / runs["plateau"] - 1)
        evidence, cells = [], []
        for cell, part in runs.groupby(list(CELL)):
            by_seed = dict(zip(part["seed"], part["ratio"], strict=True))
            interval = student_interval(list(by_seed.values()))
            side = side_of_margin(interval.mean, interval.low, interval.high, self.margin)
            row = {
                **dict(zip(CELL, cell, strict=True)),
                "λ_max η": part["level"].mean(),
                "2(1 + β)": part["plateau"].mean(),
            }
            row |= {"effect": interval.mean, "low": interval.low, "high": interval.high, "n": len(part)}
            evidence.append({**row, "decision": side})
            cells.append(by_seed)
        pooled = student_interval(list(pool(cells).values()))
        decision: Any = side_of_margin(pooled.mean, pooled.low, pooled.high, self.margin)
        if decision == "supported" and any(row["decision"] == "contradicted" for row in evidence):
            decision = "inconclusive"
        return Verdict(
            decision,
            joined(f"{pooled.mean:+.3g}% from 2(1 + β), allowed ±{100 * self.margin:g}%", absences(tables.runs)),
            pooled.mean,
            pooled.low,
            pooled.high,
            unit="%",
            num_runs=pooled.num,
            cells=evidence,
            figures=[_plateau_figure(steps)],
        )


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
