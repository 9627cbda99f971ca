"""The generalisation bound of weight-normalised networks: whether it holds, and what it is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.claims.shared.rows import check_rows, ends, wide
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Tables, Verdict, because


@settings
class GapBound:
    """Test minus training loss is below its bound. It holds with the stated probability over training sets.

    Args:
        tolerance: of arithmetic, in units of the loss.
    """

    tolerance: NotNegative = 1e-6

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and snapshot; the coordinate is n. The premise fails where a network has no bound."""
        names = ["gap", "gap_bound", "num_samples"]
        points = wide(tables.measurements, names, by_coordinate=False).dropna(subset=["gap", "num_samples"])
        gap, bound, num = (points[name] for name in names)
        return check_rows(points, "L_D − L̂ ≤ bound", "upper", bound, gap, self.tolerance, True, num)


@settings(kw_only=True)
class GapBoundSays(BoundSweep):
    """`bound_sweep` of the gap, `vacuous` where no run's bound is below the loss of predicting 0.

    Otherwise that is all that could be said without training. The reason says by how much the bound is too large, and
    at which number of examples it would fall below that loss.
    """

    def weighed(self, verdict: Verdict, tables: Tables, rows: pd.DataFrame) -> Verdict:
        """Against the loss of predicting 0."""
        names = ["gap", "gap_bound", "zero_loss", "num_samples", "num_samples_needed"]
        points = wide(tables.measurements, names, by_coordinate=False).dropna(subset=names)
        if verdict.decision not in ("supported", "vacuous") or not len(points):
            return verdict
        excess = points["gap_bound"] / points["zero_loss"]
        num_informative = int((excess < 1).sum())
        weighed = because(
            "gap_bound",
            excess=ends(excess),
            num_informative=num_informative,
            num_rows=len(points),
            num_samples=ends(points["num_samples_needed"]),
            gaps=ends(points["gap"]),
        )
        return replace(
            verdict,
            decision="supported" if num_informative else "vacuous",
            reason=[weighed, *verdict.reason],
            effect=float(np.median(excess)),
            unit="× the loss of predicting 0",
        )
