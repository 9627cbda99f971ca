"""The linear rate of gradient descent that restricted strong convexity certifies: whether it holds, and its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.claims.shared.rows import KEYS, check_rows, ends, wide
from boundcheck.claims.shared.selection import CELL, CellKey
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Reason, Tables, Verdict, because

NAMES = ("convexity", "loss_after_step", "least_loss", "certified_rate", "rate_bound")


@settings
class LinearRate:
    """A certified step from θ decreases the loss at the rate of restricted convexity, where α > 0 and L′ < L(θ).

    L(θ) − L(θ⁺) ≥ (αω(2−ω)/β)(L(θ) − L′), with L′ the least loss that was found within the cone and the radius. Where
    that is L(θ) itself, any step that does not raise the loss would do: the premise fails.

    Args:
        tolerance: of arithmetic, in units of the loss; the premise is that a larger decrease is promised.
    """

    tolerance: NotNegative = 1e-12

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot and radius (the coordinate)."""
        points = _with_loss(tables.measurements)
        theorem, radius = "L(θ) − L(θ⁺) ≥ (αω(2−ω)/β)(L(θ) − L′)", points["coordinate"]
        promised, decrease = points["loss"] - points["rate_bound"], points["loss"] - points["loss_after_step"]
        premise = promised > self.tolerance
        return check_rows(points, theorem, "lower", promised, decrease, self.tolerance, premise, radius)


@settings(kw_only=True)
class RateBoundSays(BoundSweep):
    """`bound_sweep` of the linear rate, saying how fast it is and where nothing is certified, and why.

    The effect is the median over certified rows of αω(2−ω)/β, the share of L − L′ that a step surely takes.
    """

    def not_applicable(self, tables: Tables) -> Mapping[CellKey, str]:
        """No cell: where there is no rate the theory holds all the same, and certifies none."""
        return {}

    def weighed(self, verdict: Verdict, tables: Tables, rows: pd.DataFrame) -> Verdict:
        """With the rate in the reason, and in the evidence of each cell why it is not certified."""
        keys = [*KEYS, "coordinate"]
        points = _with_loss(tables.measurements).merge(rows[[*keys, "premise_holds"]], on=keys)
        certified = points[points["premise_holds"].astype(bool)]
        num_positive = int((points["convexity"] > 0).sum())
        not_certified = because(
            "not_certified",
            not_positive=len(points) - num_positive,
            num_rows=len(points),
            no_lower_loss=num_positive - len(certified),
        )
        return replace(
            verdict,
            reason=[*_rates(certified), not_certified, *verdict.reason],
            effect=100 * float(certified["certified_rate"].median()),
            unit="% of L − L′ per step",
            cells=[{**cell, "not certified": _why(cell, points)} for cell in verdict.cells],
        )


def _with_loss(measurements: pd.DataFrame) -> pd.DataFrame:
    """What was found at each radius, with the loss at θ."""
    points = wide(measurements, NAMES, by_coordinate=True).dropna(subset=["convexity"])
    start = wide(measurements, ["loss"], by_coordinate=False).dropna(subset=["loss"])
    return points.merge(start[[*KEYS, "analysis", "loss"]], on=[*KEYS, "analysis"])


def _rates(certified: pd.DataFrame) -> list[Reason]:
    """How fast the certified rate is, and how far below the loss the set reaches; both in shares."""
    if not len(certified):
        return []
    rate, share = certified["certified_rate"], 1 - certified["least_loss"] / certified["loss"]
    return [because("certified_rate", rate=ends(rate), below=ends(share), decrease=ends(rate * share))]


def _why(cell: Mapping[str, Any], points: pd.DataFrame) -> str:
    """Why no row of a cell is certified; "–" where one is."""
    rows = points[np.logical_and.reduce([points[key] == cell[key] for key in CELL])]
    if rows["premise_holds"].astype(bool).any():
        return "–"
    return "no noticeably lower loss found" if (rows["convexity"] > 0).any() else "α ≤ 0"
