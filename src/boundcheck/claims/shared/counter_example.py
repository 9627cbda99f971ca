"""The claim that a theorem's premise is needed: without it the inequality fails somewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import RUN, records
from boundcheck.claims.shared.selection import CELL, SelectsCells
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import settings
from boundcheck.verdicts import Tables, Verdict, because


@settings(kw_only=True)
class CounterExample(SelectsCells):
    """`supported` where each selected cell violates the inequality in some run in which the premise fails.

    `contradicted` where none ever does (they happened to keep it), `inconclusive` where only some do. The effect is
    the largest violation, in percent of the bound.

    Args:
        check: the name of the check.
    """

    check: str

    def decide(self, tables: Tables) -> Verdict:
        """Look for rows outside the bound, among those whose premise fails."""
        tables = self.only(tables)
        rows = tables.checks[tables.checks["check"] == self.check]
        rows = rows[~rows["premise_holds"].astype(bool) & rows["bound"].notna() & rows["measured"].notna()]
        if not len(rows):
            return Verdict("not run", [because("no_row_without_premise", check=self.check), *absent_runs(tables.runs)])
        cells = _evidence(rows)
        decisions = [cell["decision"] for cell in cells]
        failing = because("premise_needed", num=decisions.count("supported"), num_cells=len(cells))
        return Verdict(
            decisions[0] if len(set(decisions)) == 1 else "inconclusive",
            [failing, *absent_runs(tables.runs)],
            effect=max(cell["largest violation (%)"] for cell in cells),
            unit="%",
            num_runs=len(rows[list(RUN)].drop_duplicates()),
            cells=cells,
        )


def _evidence(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """How often, and by how much at most, each cell violates the inequality beyond its tolerance."""
    difference = (rows["measured"] - rows["bound"]).to_numpy(np.float64)
    sense = rows["sense"].to_numpy()
    beyond = np.select([sense == "upper", sense == "lower"], [difference, -difference], np.abs(difference))
    excess = (beyond - rows["tolerance"].to_numpy(np.float64)).clip(min=0.0)
    groups = rows.assign(violated=excess > 0, relative=100 * excess / rows["bound"].abs()).groupby(list(CELL))
    table = groups.agg(rows=("seed", "size"), violations=("violated", "sum"))
    table["largest violation (%)"] = groups["relative"].max().fillna(0.0)
    table["n"] = groups["seed"].nunique()
    table["decision"] = np.where(table["violations"] > 0, "supported", "contradicted")
    return records(table.reset_index())
