"""Check and claim of GAM's PAC-Bayes bound: every term, whether it holds, and whether it says anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, records, wide
from boundcheck.claims.shared.selection import CELL
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.settings import InnerShare, settings
from boundcheck.theory.gam.risk import RiskBound, pac_bayes_bound, tail_probability_bound
from boundcheck.verdicts import Tables, Verdict, because

NOISE = ("noisy_test_loss", "noise_tail", "largest_loss")
SIZES = ("num_parameters", "num_samples", "parameter_norm", "loss")

MEASURED = {  # how the evidence names what the bound is made of
    "noisy_test_loss": "E L(θ + ε)",
    "loss": "L̂",
    "first_order_flatness": "R¹(ρ)",
    "num_samples": "n",
    "num_parameters": "d",
    "parameter_norm": "‖θ‖",
    "noise_tail": "P(‖ε‖ > ρ)",
}
SHOWN = [
    *("E L(θ + ε)", "L̂", "R¹(ρ)", "M/√n", "complexity", "bound", "M"),
    *("n", "d", "‖θ‖", "δ", "P(‖ε‖ > ρ)", "1/√n"),
]


@settings
class PacBayes:
    """E L(θ + ε) ≤ L̂(θ) + R¹_ρ(θ) + M/√n + complexity, and P(‖ε‖ > ρ) ≤ 1/√n, at every snapshot and radius.

    L on the left is the mean over held-out examples, over draws of the noise; its two standard errors are the
    tolerance. M is the largest loss of any example under any draw, measured and not proved: cross entropy has no
    bound, so that the premise is one of the data at hand. R¹ is a lower estimate and makes the bound stricter.
    L̂ and R¹ must be taken on the same examples: the analyses `flatness` and `weight_noise` with equal `samples`.

    Args:
        delta: probability that the bound fails, in (0, 1).
    """

    delta: InnerShare = 0.05

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run, snapshot and radius."""
        points = terms(tables)
        bound, radius = risk_bound(points, self.delta).total, points["coordinate"]
        tail_bound, tail = tail_probability_bound(points["num_samples"].to_numpy(np.float64)), points["noise_tail"]
        risk, tolerance = points["noisy_test_loss"], points["noisy_test_loss_error"].fillna(0.0)
        theorem = "E L(θ + ε) ≤ L̂(θ) + R¹(ρ) + M/√n + M√(KL + log(n/δ) …)/√(n − 1)"
        rows = [
            check_rows(points, theorem, "upper", bound, risk, tolerance, coordinate=radius),
            check_rows(points, "P(‖ε‖ > ρ) ≤ 1/√n", "upper", tail_bound, tail, coordinate=radius),
        ]
        return pd.concat(rows, ignore_index=True)


@settings(kw_only=True)
class RiskBoundSays(TheoremHolds):
    """`theorem_holds` of a `pac_bayes` check, vacuous where the bound never says more than that no loss exceeds M.

    Args:
        delta: as of the check.
    """

    delta: InnerShare = 0.05
    quantity: str = "loss, probability"
    coordinate: str = "radius ρ"
    tightness_of: str = "E L(θ + ε) *"

    def weighed(self, verdict: Verdict, tables: Tables, rows: pd.DataFrame) -> Verdict:
        """Against M; the evidence has every term at the last snapshot, averaged over seeds."""
        points = terms(tables)
        bound = risk_bound(points, self.delta)
        num_vacuous = int(bound.is_vacuous.sum())
        is_vacuous = verdict.decision == "supported" and num_vacuous == len(points)
        says = because("risk_bound_exceeds", num=num_vacuous, num_points=len(points))
        return replace(
            verdict,
            decision="vacuous" if is_vacuous else verdict.decision,
            reason=[*verdict.reason, says],
            cells=_cells(points, bound, self.delta),
        )


def terms(tables: Tables) -> pd.DataFrame:
    """What the bound is made of: a row per run, snapshot and radius where R¹ and the noise met the same examples."""
    measurements = tables.measurements
    noise = wide(measurements, NOISE, by_coordinate=True).dropna(subset=list(NOISE))
    sizes = wide(measurements, SIZES, by_coordinate=False)
    flat = wide(measurements, ["first_order_flatness"], by_coordinate=True).dropna(subset=["first_order_flatness"])
    flat = flat.merge(sizes[[*KEYS, "analysis", "num_samples"]], on=[*KEYS, "analysis"])
    points = noise.merge(sizes.dropna(subset=list(SIZES)), on=[*KEYS, "analysis"]).drop(columns="analysis")
    same = [*KEYS, "coordinate", "num_samples"]
    return points.merge(flat[[*same, "first_order_flatness"]], on=same)


def risk_bound(points: pd.DataFrame, delta: float) -> RiskBound:
    """The bound's terms (n,) for the rows of `terms`."""
    column = {name: points[name].to_numpy(np.float64) for name in (*SIZES, "first_order_flatness", "largest_loss")}
    return pac_bayes_bound(
        column["loss"],
        column["first_order_flatness"],
        column["parameter_norm"],
        num_parameters=column["num_parameters"],
        num_samples=column["num_samples"],
        rho=points["coordinate"].to_numpy(np.float64),
        delta=delta,
        loss_bound=column["largest_loss"],
    )


def _cells(points: pd.DataFrame, bound: RiskBound, delta: float) -> list[dict[str, Any]]:
    computed: dict[str, Any] = {
        "M/√n": bound.tail,
        "complexity": bound.complexity,
        "bound": bound.total,
        "M": bound.loss_bound,
        "δ": delta,
        "1/√n": tail_probability_bound(points["num_samples"].to_numpy(np.float64)),
    }
    table = points.assign(**computed)
    last = table[table["epoch"] == table.groupby(list(RUN))["epoch"].transform("max")]
    means = last.rename(columns={**MEASURED, "coordinate": "ρ"}).groupby([*CELL, "ρ"])[SHOWN].mean().reset_index()
    return records(means.assign(decision=np.where(means["bound"] >= means["M"], "vacuous", "supported")))
