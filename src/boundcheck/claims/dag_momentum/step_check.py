"""What the checks of steps share: which steps they are about, and a row for the worst step of every stretch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from boundcheck.claims.dag_momentum.steps import clipped_s, momentum_steps, worst_of_stretches
from boundcheck.claims.shared.rows import check_rows
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.settings import Count, settings
from boundcheck.theory.dag_momentum.step import decrease, step_limit
from boundcheck.verdicts import Sense, Tables

if TYPE_CHECKING:
    import pandas as pd


class Inequality(NamedTuple):
    """A theorem at n steps; the last four are numbers or arrays (n,). Tolerances are in the unit of the bound."""

    theorem: str
    sense: Sense
    bound: Any
    measured: Any
    tolerance: Any
    premise: Any


@settings(kw_only=True)
class StepCheck(SelectsCells):
    """What the checks of steps share: which cells, and how many rows of a run; a row is the worst step of a stretch.

    Args:
        stretches: of a run, a row each.
    """

    stretches: Count = 40

    rules: ClassVar[Sequence[str]] = ("adaptive",)  # the momentum laws that the theorem is about

    def rows(self, tables: Tables) -> pd.DataFrame:
        """A row for each inequality, run and stretch."""
        import pandas as pd

        steps = self.wanted(momentum_steps(self.only_runs(tables), self.rules)).reset_index(drop=True)
        if not len(steps):
            return check_rows(steps, "", "upper", 0.0, 0.0)
        return pd.concat([self._worst(steps, stated) for stated in self.inequalities(steps)], ignore_index=True)

    def wanted(self, steps: pd.DataFrame) -> pd.DataFrame:
        """Those of the steps that the theorem can be checked at."""
        return steps

    def inequalities(self, steps: pd.DataFrame) -> Iterable[Inequality]:
        """What is stated of these steps."""
        raise NotImplementedError

    def _worst(self, steps: pd.DataFrame, stated: Inequality) -> pd.DataFrame:
        bound, measured, tolerance = (
            np.broadcast_to(np.asarray(values, np.float64), len(steps)) for values in stated[2:5]
        )
        slack = bound - measured if stated.sense == "upper" else measured - bound
        chosen = worst_of_stretches(steps, slack, self.stretches)
        at = steps.index.get_indexer(chosen.index)
        premise = np.broadcast_to(np.asarray(stated.premise, bool), len(steps))[at]
        return check_rows(chosen, stated.theorem, stated.sense, bound[at], measured[at], tolerance[at], premise)


def with_curvature(steps: pd.DataFrame) -> pd.DataFrame:
    """The steps whose run has a curvature, and whose decrease is known."""
    return steps[(steps["curvature"] > 0) & steps["decrease"].notna()]


def certified_runs(steps: pd.DataFrame) -> pd.DataFrame:
    """The steps whose run has a curvature, with `constant`, the c_S of the run, and whether its `premise` holds.

    The premise is about the whole run: η < 2/((1 + s)L), s < 1, and no measured curvature above L.
    """
    steps = steps[(steps["curvature"] > 0) & steps["objective"].notna()]
    eta, L, s = steps["lr"].to_numpy(np.float64), steps["curvature"].to_numpy(np.float64), clipped_s(steps)
    premise = steps["certified"].to_numpy(bool) & (eta < step_limit(L, s)) & (steps["s"] < 1).to_numpy()
    return steps.assign(constant=decrease(eta, L, s), premise=premise)


def positive_constant(steps: pd.DataFrame) -> np.ndarray:
    """c_S of each step of `certified_runs`; NaN where it is not positive, for then it bounds nothing."""
    return steps["constant"].where(steps["constant"] > 0).to_numpy(np.float64)
