"""Claim of what first-order flatness tells of curvature: the interval that it certifies, and at which radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.gam.flatness import has_lipschitz_hessian
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import KEYS, RUN, wide
from boundcheck.theory.gam.curvature import best_radius, spectral_norm_bounds
from boundcheck.verdicts import Decision, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

AT_RADIUS = ("first_order_flatness", "hessian_lipschitz")
AT_POINT = ("spectral_norm", "gradient_norm")
SHOWN = ("ρ*", "ρ", "R¹(ρ)/ρ²", "‖H‖", "lower", "upper", "accuracy")


@dataclass(frozen=True)
class CertifiesCurvature:
    """R¹ alone encloses the spectral norm: R¹/ρ² − ‖g‖/ρ − γ₂ρ/2 ≤ ‖H‖ ≤ R¹/ρ² + γ₂ρ/2, of the last snapshots.

    So R¹/ρ² is ‖H‖ up to ‖g‖/ρ + γ₂ρ/2, which is least, √(2‖g‖γ₂), at ρ* = √(2‖g‖/γ₂); of the radii that were measured
    that counts at which it is least. Supported where its median over the runs, relative to ‖H‖, is below `accuracy`;
    vacuous where it is not; contradicted where ‖H‖ lies outside in any run. γ₂ is a lower estimate, as in the check
    `flatness_curvature`.

    Args:
        statement: what is claimed.
        reference: where.
        accuracy: of R¹/ρ² as ‖H‖, relative to it.
        paper_value: the paper's own figure, where one is sourced.
    """

    statement: str
    reference: str
    accuracy: float = 1.0
    paper_value: str = "not available"

    def __post_init__(self) -> None:
        if not self.accuracy > 0:
            raise ValueError(f"accuracy: got {self.accuracy}; allowed: > 0")

    def decide(self, tables: Tables) -> Verdict:
        """The best interval of each run, and whether ‖H‖ lies in it."""
        absent = absences(tables.runs)
        found = intervals(tables)
        if found.empty:
            reason = "; ".join(filter(None, ("R¹, ‖g‖ and γ₂ were measured on no smooth network", absent)))
            return Verdict("not run", reason, paper_value=self.paper_value)
        best = found.loc[found.groupby(list(RUN))["accuracy"].idxmin()]
        outside = best[(best["‖H‖"] < best["lower"] - best["error"]) | (best["‖H‖"] > best["upper"] + best["error"])]
        accuracy = float(best["accuracy"].median())
        reason = f"with the γ₂ that was measured R¹/ρ² is ‖H‖ ± {100 * accuracy:.3g}% (median of {len(best)} runs)"
        decision: Decision = "supported" if accuracy < self.accuracy else "vacuous"
        if len(outside):
            decision, reason = "contradicted", f"‖H‖ lies outside in {len(outside)} runs; {reason}"
        return Verdict(
            decision,
            "; ".join(filter(None, (reason, absent))),
            num_runs=len(best),
            paper_value=self.paper_value,
            cells=_cells(best),
        )


def intervals(tables: Tables) -> pd.DataFrame:
    """A row per run and radius at the last snapshot of smooth networks: what encloses ‖H‖, and `error`, its own."""
    at_radius = wide(tables.measurements, AT_RADIUS, by_coordinate=True)
    at_point = wide(tables.measurements, AT_POINT, by_coordinate=False)
    found = at_radius.merge(at_point, on=[*KEYS, "analysis"]).dropna(subset=[*AT_RADIUS, *AT_POINT, "coordinate"])
    found = found[found["hessian_lipschitz"] > 0]
    found = found[has_lipschitz_hessian(found, tables.runs)]
    found = found[found["epoch"] == found.groupby(list(RUN))["epoch"].transform("max")]
    flatness, gradient, lipschitz, rho, norm = (
        found[name].to_numpy(np.float64)
        for name in ("first_order_flatness", "gradient_norm", "hessian_lipschitz", "coordinate", "spectral_norm")
    )
    lower, upper = spectral_norm_bounds(flatness, gradient, lipschitz, rho)
    return found.assign(
        **{
            "ρ*": best_radius(gradient, lipschitz),
            "ρ": rho,
            "R¹(ρ)/ρ²": flatness / rho**2,
            "‖H‖": norm,
            "lower": lower,
            "upper": upper,
            "accuracy": (flatness / rho**2 - lower) / norm,
            "error": found["spectral_norm_error"].fillna(0.0),
        }
    )


def _cells(best: pd.DataFrame) -> list[dict[str, Any]]:
    cell: Sequence[str] = ("dataset", "model", "method")
    table = best.groupby(list(cell))[list(SHOWN)].mean().reset_index()
    table["n"] = best.groupby(list(cell)).size().to_numpy()
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
