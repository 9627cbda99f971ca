"""Restricted strong convexity of the loss of weight-normalised networks: where it holds."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

import numpy as np
import pandas as pd

from boundcheck.claims.shared.bound_sweep import Shown, drawn_rows
from boundcheck.claims.shared.decision import DECISION_OF_CELL
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows
from boundcheck.claims.shared.selection import CELL, SelectsCells
from boundcheck.claims.shared.values import absent_runs, quantity_rows
from boundcheck.contracts import NAN
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Figure, Tables, Verdict, because

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


@settings(kw_only=True)
class ConvexityReached(SelectsCells):
    """Whether restricted strong convexity holds along training: its constant α is positive at the snapshots.

    A cell is `supported` where α > 0 at every snapshot of every finished run. α is a lower bound: where it is not
    positive, nothing is certified, and only a sampled direction of the cone with a negative curvature contradicts. Else
    the cell is `inconclusive`; the claim likewise over the cells. The effect is the share of snapshots with α > 0.

    Args:
        quantity: which α: convexity_limit, or convexity.
        shown: selectors of the `datasets`, `models` and `methods` in the figures.
    """

    quantity: Literal["convexity_limit", "convexity"] = "convexity_limit"
    shown: Shown = field(default_factory=dict)

    def decide(self, tables: Tables) -> Verdict:
        """Count the snapshots with a positive α."""
        tables = self.only(tables)
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        rows = quantity_rows(tables, "measurements", self.quantity).merge(done, on=list(RUN))
        if not len(rows):
            return Verdict("not run", [because("no_convexity"), *absent_runs(tables.runs)])
        cells = _evidence(rows, quantity_rows(tables, "measurements", "sampled_curvature"))
        decisions = [cell["decision"] for cell in cells]
        counts = because(
            "convexity",
            supported=decisions.count("supported"),
            contradicted=decisions.count("contradicted"),
            num_cells=len(cells),
        )
        figures = [self._figure(tables, name, label) for name, label in CURVES.items()]
        return Verdict(
            decisions[0] if len(set(decisions)) == 1 else "inconclusive",
            [counts, *absent_runs(tables.runs)],
            effect=100 * float((rows["value"] > 0).mean()),
            unit="% of snapshots",
            num_runs=len(rows[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[figure for figure in figures if figure is not None],
        )

    def _figure(self, tables: Tables, quantity: str, label: str) -> Figure | None:
        rows = quantity_rows(tables, "measurements", quantity)
        return curve_figure(drawn_rows(rows, tables.runs, self.shown), tables.runs, label)


def _evidence(rows: pd.DataFrame, sampled: pd.DataFrame) -> list[dict[str, Any]]:
    """What the constants α of each cell say, beside the curvature along its sampled directions."""
    least = sampled.groupby(list(CELL))["value"].min().to_dict()
    cells = []
    for key, part in rows.groupby(list(CELL)):
        share, curvature = float((part["value"] > 0).mean()), least.get(key, NAN)
        cells.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "least α": float(part["value"].min()),
                "largest α": float(part["value"].max()),
                "share of snapshots with α > 0": share,
                "least sampled curvature": curvature,
                "n": int(part["seed"].nunique()),
                "decision": DECISION_OF_CELL[int(share == 1) - int(curvature < 0)],
            }
        )
    return cells
