"""How the generalisation gap grows with a setting, of networks that are compared at equal training loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from boundcheck.claims.shared.at_loss import at_common_loss
from boundcheck.claims.shared.power_law import PowerLaw, of_groups
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, Cells, SelectsCells
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.sweeps import no_sweep, sweep_rows
from boundcheck.claims.shared.values import quantity_rows
from boundcheck.settings import Positive, settings
from boundcheck.verdicts import Reason, Tables, Verdict, because

TEST = "test_loss"
QUANTITY = "gap at equal loss (% of its mean)"


@settings(kw_only=True)
class GapAtEqualLoss(SelectsCells):
    """At equal training loss the gap, test minus training loss, hardly grows with a setting.

    A longer training has the lower training loss and the larger gap. So the runs that differ in x only are compared,
    for each seed, at the least training loss that all of them reach; between the two evaluations around it a test loss
    is linear in the training loss. The slopes over log₂ x, in percent of the group's mean gap, decide as those of
    `power_law` do. A group is `inconclusive` where that loss is above `loss_at_most`, for what was hardly trained has
    no gap to compare, where a run is below it at its first evaluation, or where the interval of the mean gap over the
    seeds covers 0.

    Args:
        x: a setting of models (`width`, `depth`).
        at_most: the largest slope, in percent of the mean gap per doubling.
        loss_at_most: the largest training loss at which runs are compared.
    """

    x: str
    loss_at_most: Positive
    at_most: float = 0.0

    def why_never(self, cells: Cells) -> list[Reason]:
        """A reason if the grid has no sweep of the setting."""
        return no_sweep(cells, self.x, TEST)

    def decide(self, tables: Tables) -> Verdict:
        """Fit the groups that have learned enough."""
        tables = self.only(tables)
        gaps = self._gaps(tables)
        problems = {str(group): self._problem(str(group), part) for group, part in gaps.groupby("group")}
        left_out = {group: why for group, why in problems.items() if why is not None}
        points = gaps[~gaps["group"].isin(left_out)]
        law = PowerLaw(x=self.x, quantity=QUANTITY, at_most=self.at_most, logarithmic=False)
        verdict = law.of_points(points, tables.runs)
        if not len(gaps):
            return verdict
        cells: list[Mapping[str, Any]] = [*verdict.cells]
        cells += [{"group": group, "decision": "inconclusive"} for group in left_out]
        groups = gaps.groupby("group")
        means = groups[["level", "gap"]].mean().rename(columns={"level": "training loss", "gap": "mean gap"})
        of_group: Any = means.assign(n=groups.size()).to_dict("index")
        return replace(
            verdict,
            decision=of_groups([cell["decision"] for cell in cells]),
            reason=[*(verdict.reason if len(points) else ()), *left_out.values()],
            cells=[{**cell, **of_group[cell["group"]]} for cell in cells],
            unit=f"% {verdict.unit}" if verdict.unit else "",
        )

    def _gaps(self, tables: Tables) -> pd.DataFrame:
        """For each run of a sweep its `group`, the common training loss `level`, the `gap` there, and its `value`.

        The value is in percent of the group's mean. A seed counts where all values of x have it.
        """
        losses = quantity_rows(tables, "curves", TEST).dropna(subset=["value"])
        rows = sweep_rows(losses, tables.runs, self.x)
        of_seed, of_group = (rows.groupby(keys)["x"].transform("nunique") for keys in (["group", "seed"], "group"))
        rows = rows[of_seed == of_group]
        cells = zip(*(rows[key] for key in CELL), strict=True)
        groups = {cell: (group,) for cell, group in zip(cells, rows["group"], strict=True)}
        gaps = at_common_loss(rows, tables.curves, tables.runs, groups)
        gaps["gap"] = gaps["value"] - gaps["level"]
        percent = 100 * gaps["gap"] / gaps.groupby("group")["gap"].transform("mean")
        return gaps.assign(value=percent).sort_values(list(RUN), ignore_index=True)

    def _problem(self, group: str, part: pd.DataFrame) -> Reason | None:
        """Why a group is not fitted; None where it is."""
        below = int(part["gap"].isna().sum())
        if below:
            return because("starts_below", group=group, num=below)
        level = float(part["level"].max())
        if level > self.loss_at_most:
            return because("least_loss_above", group=group, loss=level, limit=self.loss_at_most)
        mean, low, high, *_ = student_interval(part.groupby("seed")["gap"].mean())
        return None if low > 0 else because("no_mean_gap", group=group, mean=mean, low=low, high=high)
