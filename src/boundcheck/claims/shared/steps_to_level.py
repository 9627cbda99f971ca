"""How many steps a run needs until a quantity is at or below a level, and the claim that one method needs fewer."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.comparison import LowerValue
from boundcheck.claims.shared.rows import RUN
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


def steps_to_level(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """One row per run and quantity whose value is the first step at which it is at or below `level`.

    A run that never is gets its last step, which can only make it look faster, and `reached` False.

    Args:
        rows: tidy rows of curves.
        level: in the unit of the quantity.
    """
    ordered = rows[np.isfinite(rows["value"])].sort_values("step", kind="stable")
    keys = [*RUN, "quantity"]
    last = ordered.groupby(keys).tail(1)
    reached = ordered[ordered["value"] <= level].groupby(keys).head(1)
    found = reached.set_index(keys)["step"].reindex(last.set_index(keys).index)
    steps = np.where(found.isna(), last["step"], found).astype(np.float64)
    return last.assign(value=steps, reached=found.notna().to_numpy())


def steps_to_share(rows: pd.DataFrame, share: float) -> pd.DataFrame:
    """As `steps_to_level`, the level of each run being a share of its first value."""
    ordered = rows[np.isfinite(rows["value"])].sort_values("step", kind="stable")
    first = ordered.groupby([*RUN, "quantity"])["value"].transform("first")
    return steps_to_level(ordered.assign(value=ordered["value"] / first), share)


def never_reached(rows: pd.DataFrame, level: float) -> int:
    """How many runs never have the quantity at or below the level."""
    return int((rows.groupby(list(RUN))["value"].min() > level).sum())


@dataclass(frozen=True)
class ReachesSooner(LowerValue):
    """The quantity is at or below `level` after fewer steps than the baseline's; fields as of a comparison.

    A run that never reaches it counts as its last step; the reason says how many there are.

    Args:
        level: in the unit of the quantity.
    """

    level: float = 0.0

    def decide(self, tables: Tables) -> Verdict:
        """Compare numbers of steps, and show the curves of the quantity itself."""
        rows = tables.curves[tables.curves["quantity"] == self.quantity]
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(LowerValue)}
        if not self.relative:
            plain["unit"] = "steps"
        comparison = LowerValue(**plain)
        verdict = comparison.decide(tables._replace(curves=steps_to_level(rows, self.level)))
        if not verdict.cells:
            return verdict
        names = {cell["method"] for cell in verdict.cells} | {self.baseline}
        beside = {(cell["dataset"], cell["model"]) for cell in verdict.cells}
        planned = zip(rows["dataset"], rows["model"], rows["method"], strict=True)
        compared = rows[[(dataset, model) in beside and method in names for dataset, model, method in planned]]
        reason = f"steps until {self.quantity.replace('_', ' ')} ≤ {self.level:g}: {verdict.reason}"
        if absent := never_reached(compared, self.level):
            reason += f"; {absent} runs never reach it and count as their last step"
        curves = comparison.decide(tables).figures[1:]
        return replace(verdict, reason=reason, figures=[*map(self._about_steps, verdict.figures), *curves])

    def _about_steps(self, figure: Figure) -> Figure:
        what = f"steps until {self.quantity.replace('_', ' ')} ≤ {self.level:g}"
        caption = f"Difference from {self.baseline} in {what}: mean over paired seeds and its 95% interval."
        unit = " (%)" if self.relative else ""
        return replace(figure, x_label=f"{what}: difference from {self.baseline}{unit}", caption=caption)
