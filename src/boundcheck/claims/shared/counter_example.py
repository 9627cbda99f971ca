"""The claim that a theorem's premise is needed: without it the inequality fails somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.pairs import absences, matching
from boundcheck.claims.shared.rows import RUN
from boundcheck.verdicts import Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CounterExample:
    """`supported` where each of the methods violates the inequality in some finished run in which the premise fails.

    `contradicted` where none ever does (they happened to keep it), `inconclusive` where only some do. The effect is
    the largest violation, in percent of the bound.

    Args:
        check: the check's name in the config.
        methods: methods without the premise; patterns are allowed.
        statement: what the paper, or its theory, states.
        reference: where it does.
    """

    check: str
    methods: Sequence[str]
    statement: str
    reference: str

    def __post_init__(self) -> None:
        if isinstance(self.methods, str) or not self.methods:
            raise ValueError(f"methods: got {self.methods!r}; allowed: a list of names, at least one")

    def decide(self, tables: Tables) -> Verdict:
        """Look for rows outside the bound among those whose premise fails."""
        rows = tables.checks[tables.checks["check"] == self.check]
        rows = rows[~rows["premise_holds"].astype(bool) & rows["bound"].notna() & rows["measured"].notna()]
        names = matching(list(rows["method"].unique()), self.methods, "")
        rows = rows[rows["method"].isin(names)]
        absent = absences(tables.runs[tables.runs["method"].isin(names)])
        if not len(rows):
            reason = f"{self.check} has no row of {', '.join(self.methods)} without the premise"
            return Verdict("not run", "; ".join(filter(None, (reason, absent))))
        rows = rows.assign(excess=_excess(rows))
        cells: list[dict[str, Any]] = []
        for (dataset, model, method), part in rows.groupby(["dataset", "model", "method"]):
            outside = part[part["excess"] > 0]
            relative = 100 * (outside["excess"] / outside["bound"].abs()).max() if len(outside) else 0.0
            cells.append(
                {
                    "dataset": dataset,
                    "model": model,
                    "method": method,
                    "rows": len(part),
                    "violations": len(outside),
                    "largest violation (%)": float(relative),
                    "n": int(part["seed"].nunique()),
                    "decision": "supported" if len(outside) else "contradicted",
                }
            )
        decisions = {cell["decision"] for cell in cells}
        violating = sum(cell["decision"] == "supported" for cell in cells)
        reason = f"without the premise the inequality fails in {violating} of {len(cells)} cells"
        return Verdict(
            decisions.pop() if len(decisions) == 1 else "inconclusive",
            "; ".join(filter(None, (reason, absent))),
            effect=max(cell["largest violation (%)"] for cell in cells),
            unit="%",
            num_runs=len(rows[list(RUN)].drop_duplicates()),
            cells=cells,
        )


def _excess(rows: pd.DataFrame) -> np.ndarray:
    """How far a row lies outside its bound and tolerance; not positive inside."""
    difference = (rows["measured"] - rows["bound"]).to_numpy(np.float64)
    sense = rows["sense"].to_numpy()
    beyond = np.select([sense == "upper", sense == "lower"], [difference, -difference], np.abs(difference))
    return beyond - rows["tolerance"].to_numpy(np.float64)
