"""Claim of what first-order flatness tells of curvature: the interval that it certifies, and at which radius."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boundcheck.claims.gam.flatness import flatness_and_curvature, has_lipschitz_hessian
from boundcheck.claims.shared.rows import RUN, records
from boundcheck.claims.shared.selection import CELL, SelectsCells
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import Positive, settings
from boundcheck.theory.gam.curvature import best_radius, spectral_norm_bounds
from boundcheck.verdicts import Decision, Tables, Verdict, because

SHOWN = ("ρ*", "ρ", "R¹(ρ)/ρ²", "‖H‖", "lower", "upper", "accuracy")


@settings(kw_only=True)
class CertifiesCurvature(SelectsCells):
    """R¹ alone encloses the spectral norm: R¹/ρ² − ‖g‖/ρ − γ₂ρ/2 ≤ ‖H‖ ≤ R¹/ρ² + γ₂ρ/2, of the last snapshots.

    So R¹/ρ² is ‖H‖ up to ‖g‖/ρ + γ₂ρ/2, which is least, √(2‖g‖γ₂), at ρ* = √(2‖g‖/γ₂); of the radii that were measured
    that counts at which it is least. Supported where its median over the runs, relative to ‖H‖, is below `accuracy`;
    vacuous where it is not; contradicted where ‖H‖ lies outside in any run. γ₂ is a lower estimate, as in the check
    `flatness_curvature`.

    Args:
        accuracy: of R¹/ρ² as ‖H‖, relative to it.
    """

    accuracy: Positive = 1.0

    def decide(self, tables: Tables) -> Verdict:
        """Take the best interval of each run, and test whether ‖H‖ lies in it."""
        tables = self.only(tables)
        absent = absent_runs(tables.runs)
        points = intervals(tables)
        if points.empty:
            return Verdict("not run", [because("no_smooth_network"), *absent])
        best = points.loc[points.groupby(list(RUN))["accuracy"].idxmin()]
        outside = best[(best["‖H‖"] < best["lower"] - best["error"]) | (best["‖H‖"] > best["upper"] + best["error"])]
        accuracy = float(best["accuracy"].median())
        reasons = [because("curvature_accuracy", accuracy=100 * accuracy, num=len(best))]
        decision: Decision = "supported" if accuracy < self.accuracy else "vacuous"
        if len(outside):
            decision, reasons = "contradicted", [because("curvature_outside", num=len(outside)), *reasons]
        cells = best.groupby(list(CELL))
        evidence = records(cells[list(SHOWN)].mean().assign(n=cells.size()).reset_index())
        return Verdict(decision, [*reasons, *absent], num_runs=len(best), cells=evidence)


def intervals(tables: Tables) -> pd.DataFrame:
    """A row per run and radius at the last snapshot of smooth networks: what encloses ‖H‖, and `error`, its own."""
    points = flatness_and_curvature(tables)
    points = points[points["hessian_lipschitz"] > 0]
    points = points[has_lipschitz_hessian(points, tables.runs)]
    points = points[points["epoch"] == points.groupby(list(RUN))["epoch"].transform("max")]
    names = ("first_order_flatness", "gradient_norm", "hessian_lipschitz", "coordinate", "spectral_norm")
    flatness, gradient, lipschitz, rho, norm = (points[name].to_numpy(np.float64) for name in names)
    lower, upper = spectral_norm_bounds(flatness, gradient, lipschitz, rho)
    return points.assign(
        **{
            "ρ*": best_radius(gradient, lipschitz),
            "ρ": rho,
            "R¹(ρ)/ρ²": flatness / rho**2,
            "‖H‖": norm,
            "lower": lower,
            "upper": upper,
            "accuracy": (flatness / rho**2 - lower) / norm,
            "error": points["spectral_norm_error"].fillna(0.0),
        }
    )
