"""Claims about one number: it lies above, or below, a level, in every cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boundcheck.claims.shared.decision import decide_sign
from boundcheck.claims.shared.figures import curve_figure, interval_figure
from boundcheck.claims.shared.pairs import AmbiguousValueError, At, absences, matching, quantity_rows, run_values
from boundcheck.verdicts import Figure, Tables, Verdict

SIGNS = {"above": 1, "below": -1}


@dataclass(frozen=True)
class ReachesLevel:
    """The mean over seeds of a quantity lies above, or below, a level.

    Each cell gives one difference value − level per seed; they decide as those of a comparison do.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: a quantity of the curves or the measurements.
        level: what it is compared with, in its unit.
        side: "above" or "below".
        methods: names of methods; the patterns of fnmatch (`gam_*`) are allowed.
        models: names of models, as well.
        source: "curves" or "measurements".
        at: "last" or "best" recorded value of each run, or an epoch.
        coordinate: which coordinate (a radius, say), where the quantity has several.
        analysis: whose measurements, where several analyses measure the quantity.
        unit: the unit of the quantity.
        paper_value: the paper's own figure, where one is sourced.
    """

    statement: str
    reference: str
    quantity: str
    level: float
    side: str
    methods: Sequence[str] = ("*",)
    models: Sequence[str] = ("*",)
    source: str = "measurements"
    at: At = "last"
    coordinate: float | None = None
    analysis: str | None = None
    unit: str = ""
    paper_value: str = "not available"

    def __post_init__(self) -> None:
        if self.side not in SIGNS:
            raise ValueError(f"side: got {self.side!r}; allowed: {', '.join(SIGNS)}")
        if self.source not in ("curves", "measurements"):
            raise ValueError(f"source: got {self.source!r}; allowed: curves, measurements")
        if not math.isfinite(self.level):
            raise ValueError(f"level: got {self.level}; allowed: a finite number")

    def decide(self, tables: Tables) -> Verdict:
        """Compare the mean of every cell that measured the quantity with the level."""
        methods = matching(list(tables.runs["method"].unique()), self.methods)
        rows = quantity_rows(tables, self.source, self.quantity, methods, self.analysis, self.coordinate)
        rows = rows[rows["model"].isin(matching(list(rows["model"].unique()), self.models))]
        try:
            values = run_values(rows, tables.runs, self.at, self.side == "above")
        except AmbiguousValueError as ambiguous:
            return Verdict("not run", f"{self.quantity}: {ambiguous}", paper_value=self.paper_value)
        if not values:
            return Verdict("not run", f"no finished run has a {self.quantity}", paper_value=self.paper_value)
        cells: dict[tuple[str, str, str], dict[int, float]] = {}
        for (dataset, model, method, seed), value in values.items():
            cells.setdefault((dataset, model, method), {})[seed] = value - self.level
        sign = SIGNS[self.side]
        named = {"/".join(cell): by_seed for cell, by_seed in cells.items()}
        decided = decide_sign(named, sign, f"{self.side} {self.level:g}")
        evidence: list[dict[str, Any]] = []
        for cell in cells:
            interval = decided.cells["/".join(cell)]
            evidence.append(
                {
                    **dict(zip(("dataset", "model", "method"), cell, strict=True)),
                    "value": self.level + interval.mean,
                    "effect": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                    "n": interval.num,
                    "decision": decided.of_cell("/".join(cell), sign),
                }
            )
        runs = tables.runs[tables.runs["method"].isin(methods)]
        mean, low, high, _, num = decided.pooled
        return Verdict(
            decided.decision,
            "; ".join(filter(None, (decided.reason, absences(runs)))),
            mean,
            low,
            high,
            unit=self.unit,
            num_runs=num,
            num_runs_needed=decided.num_runs_needed,
            paper_value=self.paper_value,
            cells=evidence,
            figures=self._figures(
                tables, evidence, {"method": "pooled", "effect": mean, "low": low, "high": high}, rows
            ),
        )

    def _figures(
        self, tables: Tables, evidence: Sequence[dict[str, Any]], pooled: dict[str, Any], rows: Any
    ) -> list[Figure]:
        name = self.quantity.replace("_", " ")
        label = f"{name} − {self.level:g}" + (f" ({self.unit})" if self.unit else "")
        caption = f"Difference of {name} from {self.level:g}: mean over seeds and its 95% interval."
        curves = curve_figure(rows, tables.runs, name)
        return [interval_figure([*evidence, pooled], label, caption), *([] if curves is None else [curves])]
