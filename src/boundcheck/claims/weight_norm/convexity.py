"""Restricted strong convexity of the loss of weight-normalised networks: where it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.decision import DECISION_OF_CELL
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

CURVES = {
    "convexity_limit": "restricted convexity α",
    "average_gradient_norm": "norm of the average predictor gradient ‖ḡ‖",
}


@settings
class RestrictedConvexityHolds:
    """The curvature of the loss along every sampled direction of the cone is at least α, where α > 0.

    Args:
        tolerance: of arithmetic, relative to α; differences of losses over ρ² lose digits.
    """

    tolerance: NotNegative = 1e-4

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, radius (the coordinate) and direction."""
        rows = tables.measurements
        sampled = rows[rows["quantity"] == "sampled_curvature"]
        alpha = rows.loc[rows["quantity"] == "convexity", [*KEYS, "coordinate", "value"]]
        found = sampled.merge(alpha, on=[*KEYS, "coordinate"], suffixes=("", "_alpha"))
        bound, measured = found["value_alpha"].to_numpy(), found["value"].to_numpy()
        tolerance, radius = self.tolerance * np.abs(bound), found["coordinate"].to_numpy()
        return check_rows(found, "δᵀ∇²Lδ ≥ α‖δ‖²", "lower", bound, measured, tolerance, bound > 0, radius)


@dataclass(frozen=True)
class ConvexityReached:
    """Whether restricted strong convexity holds along training: its constant α is positive at the snapshots.

    A cell is `supported` where α > 0 at every snapshot of every finished run. α is a lower bound: where it is not
    positive, nothing is certified, and only a sampled direction of the cone with a negative curvature contradicts. Else
    the cell is `inconclusive`; the claim likewise over the cells. The effect is the share of snapshots with α > 0.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: which α: convexity_limit, or convexity.
        shown: models, patterns allowed, in the figure.
    """

    statement: str
    reference: str
    quantity: str = "convexity_limit"
    shown: Sequence[str] = ("*",)

    def decide(self, tables: Tables) -> Verdict:
        """Count the snapshots with a positive α."""
        rows = tables.measurements[tables.measurements["quantity"] == self.quantity]
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        rows = rows.merge(done, on=list(RUN))
        if not len(rows):
            return Verdict("not run", "; ".join(filter(None, ["no convexity was measured", absences(tables.runs)])))
        sampled = tables.measurements[tables.measurements["quantity"] == "sampled_curvature"]
        least = sampled.groupby(["dataset", "model", "method"])["value"].min().to_dict()
        cells: list[dict[str, Any]] = []
        for (dataset, model, method), part in rows.groupby(["dataset", "model", "method"]):
            share = float((part["value"] > 0).mean())
            curvature = least.get((dataset, model, method), np.nan)
            side = int(share == 1) - int(curvature < 0)
            cells.append(
                {
                    "dataset": dataset,
                    "model": model,
                    "method": method,
                    "least α": float(part["value"].min()),
                    "largest α": float(part["value"].max()),
                    "share of snapshots with α > 0": share,
                    "least sampled curvature": curvature,
                    "n": int(part["seed"].nunique()),
                    "decision": DECISION_OF_CELL[side],
                }
            )
        decisions = {cell["decision"] for cell in cells}
        decision: Decision = decisions.pop() if len(decisions) == 1 else "inconclusive"
        share = float((rows["value"] > 0).mean())
        number = sum(cell["decision"] == "supported" for cell in cells)
        never = sum(cell["decision"] == "contradicted" for cell in cells)
        reason = (
            f"certified, α > 0, at every snapshot of {number} of {len(cells)} cells; of {never} a sampled direction has"
        )
        reason += " a negative curvature; the others are neither"
        figures = [self._figure(tables, name, label) for name, label in CURVES.items()]
        return Verdict(
            decision,
            "; ".join(filter(None, [reason, absences(tables.runs)])),
            effect=100 * share,
            unit="% of snapshots",
            num_runs=len(rows[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[figure for figure in figures if figure is not None],
        )

    def _figure(self, tables: Tables, quantity: str, label: str) -> Figure | None:
        rows = tables.measurements[tables.measurements["quantity"] == quantity]
        shown = [any(fnmatchcase(model, pattern) for pattern in self.shown) for model in rows["model"]]
        return curve_figure(rows[np.array(shown, dtype=bool)], tables.runs, label)
