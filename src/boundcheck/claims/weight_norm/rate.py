"""The linear rate of gradient descent that restricted strong convexity certifies: whether it holds, and its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.claims.shared.rows import KEYS, check_rows, wide
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

CELL = ("dataset", "model", "method")
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
        found = _with_loss(tables.measurements)
        loss, after, bound = (found[name].to_numpy() for name in ("loss", "loss_after_step", "rate_bound"))
        theorem, radius = "L(θ) − L(θ⁺) ≥ (αω(2−ω)/β)(L(θ) − L′)", found["coordinate"].to_numpy()
        promised = loss - bound
        premise = promised > self.tolerance
        return check_rows(found, theorem, "lower", promised, loss - after, self.tolerance, premise, radius)


@dataclass(frozen=True)
class RateBoundSays(BoundSweep):
    """`bound_sweep` of the linear rate, saying how fast it is and where nothing is certified, and why.

    The effect is the median over certified rows of αω(2−ω)/β, the share of L − L′ that a step surely takes.
    """

    def not_applicable(self, tables: Tables) -> Mapping[tuple[str, ...], str]:
        """No cell: where there is no rate the theory holds all the same, and certifies none."""
        return {}

    def decide(self, tables: Tables) -> Verdict:
        """As `bound_sweep`; the reason has the rate, and the evidence of each cell why it is not certified."""
        verdict = super().decide(tables)
        checks = tables.checks[tables.checks["check"] == self.check]
        if not len(checks):
            return verdict
        keys = [*KEYS, "coordinate"]
        found = _with_loss(tables.measurements).merge(checks[[*keys, "premise_holds"]], on=keys)
        certified = found[found["premise_holds"].astype(bool)]
        positive = found["convexity"] > 0
        reason = f"{_rates(certified)}not certified: α ≤ 0 on {int((~positive).sum())} of {len(found)} rows"
        reason += f", α > 0 but no noticeably lower loss found on {int(positive.sum()) - len(certified)}"
        return replace(
            verdict,
            reason=f"{reason}; {verdict.reason}",
            effect=100 * float(certified["certified_rate"].median()),
            unit="% of L − L′ per step",
            cells=[cell | _why(cell, found) for cell in map(dict, verdict.cells)],
        )


def _with_loss(measurements: pd.DataFrame) -> pd.DataFrame:
    """What was found at each radius, with the loss at θ."""
    found = wide(measurements, NAMES, by_coordinate=True).dropna(subset=["convexity"])
    start = wide(measurements, ["loss"], by_coordinate=False).dropna(subset=["loss"])
    return found.merge(start[[*KEYS, "analysis", "loss"]], on=[*KEYS, "analysis"])


def _rates(certified: pd.DataFrame) -> str:
    """In words, how fast the certified rate is, and how far below the loss the set reaches."""
    if not len(certified):
        return ""
    rate, share = certified["certified_rate"], 1 - certified["least_loss"] / certified["loss"]
    texts = [f"{part.min():.2g} to {part.max():.2g}" for part in (rate, 100 * share, 100 * rate * share)]
    return (
        f"the certified rate αω(2−ω)/β is {texts[0]} of L − L′ per step; L′ lies {texts[1]} % of L below L, so that "
        f"{texts[2]} % of L are certified; "
    )


def _why(cell: Mapping[str, Any], found: pd.DataFrame) -> dict[str, str]:
    """Why no row of a cell is certified; "–" where one is."""
    rows = found[np.logical_and.reduce([found[key] == cell[key] for key in CELL])]
    if rows["premise_holds"].astype(bool).any():
        return {"not certified": "–"}
    return {"not certified": "no noticeably lower loss found" if (rows["convexity"] > 0).any() else "α ≤ 0"}
