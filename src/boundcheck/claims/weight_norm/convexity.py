"""Restricted strong convexity of the loss of weight-normalised networks: where it holds."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pandas as pd

from boundcheck.claims.shared.bound_sweep import Shown, drawn_rows
from boundcheck.claims.shared.decision import DECISION_OF_CELL
from boundcheck.claims.shared.figures import curve_figure
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, records
from boundcheck.claims.shared.selection import CELL, SelectsCells
from boundcheck.claims.shared.values import absent_runs, quantity_rows
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Tables, Verdict, because

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
        points = sampled.merge(alpha, on=[*KEYS, "coordinate"], suffixes=("", "_alpha"))
        bound, radius = points["value_alpha"], points["coordinate"]
        tolerance = self.tolerance * bound.abs()
        return check_rows(points, "δᵀ∇²Lδ ≥ α‖δ‖²", "lower", bound, points["value"], tolerance, bound > 0, radius)


@settings(kw_only=True)
class ConvexityReached(SelectsCells):
    """Whether restricted strong convexity holds along training: its constant α is positive at the snapshots.

    A cell is `supported` where α > 0 at every snapshot of every finished run. α is a lower bound: where it is not
    positive, nothing is certified, and only a sampled direction of the cone with a negative curvature contradicts. Else
    the cell is `inconclusive`; the claim likewise over the cells. The effect is the share of snapshots with α > 0.

    Args:
        shown: selectors of the `datasets`, `models` and `methods` in the figures.
    """

    shown: Shown = field(default_factory=dict)

    def decide(self, tables: Tables) -> Verdict:
        """Count the snapshots with a positive α."""
        tables = self.only(tables)
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        rows = quantity_rows(tables, "measurements", "convexity_limit").merge(done, on=list(RUN))
        if not len(rows):
            return Verdict("not run", [because("no_convexity"), *absent_runs(tables.runs)])
        cells = _evidence(rows, quantity_rows(tables, "measurements", "sampled_curvature"))
        decisions = [cell["decision"] for cell in cells]
        counts = {side: decisions.count(side) for side in ("supported", "contradicted")}
        curves = {name: quantity_rows(tables, "measurements", name) for name in CURVES}
        figures = [
            curve_figure(drawn_rows(of_name, tables.runs, self.shown), tables.runs, CURVES[name])
            for name, of_name in curves.items()
        ]
        return Verdict(
            decisions[0] if len(set(decisions)) == 1 else "inconclusive",
            [because("convexity", **counts, num_cells=len(cells)), *absent_runs(tables.runs)],
            effect=100 * float((rows["value"] > 0).mean()),
            unit="% of snapshots",
            num_runs=len(rows[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[figure for figure in figures if figure is not None],
        )


def _evidence(rows: pd.DataFrame, sampled: pd.DataFrame) -> list[dict[str, Any]]:
    """What the constants α of each cell say, beside the curvature along its sampled directions."""
    groups = rows.assign(positive=rows["value"] > 0).groupby(list(CELL))
    table = groups.agg(
        **{
            "least α": ("value", "min"),
            "largest α": ("value", "max"),
            "share of snapshots with α > 0": ("positive", "mean"),
        }
    )
    table["least sampled curvature"] = sampled.groupby(list(CELL))["value"].min()
    sides = (table["share of snapshots with α > 0"] == 1).astype(int) - (table["least sampled curvature"] < 0)
    return records(table.assign(n=groups["seed"].nunique(), decision=sides.map(DECISION_OF_CELL)).reset_index())
