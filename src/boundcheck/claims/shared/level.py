"""Claims about one number: it lies above, or below, a level, in every cell."""

from __future__ import annotations

from typing import Any, Literal

from boundcheck.claims.shared.decision import decide_sign
from boundcheck.claims.shared.figures import curve_figure, in_words, interval_figure
from boundcheck.claims.shared.selection import Cells, Recorded, Selected, SelectsCells
from boundcheck.claims.shared.values import AmbiguousValueError, At, Source, absent_runs, quantity_rows, values_by_cell
from boundcheck.settings import settings
from boundcheck.verdicts import Tables, Verdict, because

SIGNS = {"above": 1, "below": -1}


@settings(kw_only=True)
class ReachesLevel(SelectsCells):
    """The mean over seeds of a quantity lies above, or below, a level.

    Each cell gives one difference value − level per seed; they decide as those of a comparison do.

    Args:
        quantity: a quantity of the curves or the measurements.
        level: what it is compared with, in its unit.
        side: "above" or "below".
        source: the table that has the quantity.
        at: "last" or "best" recorded value of each run, or an epoch.
        coordinate: which coordinate (a radius, say), where the quantity has several.
        analysis: whose measurements, where several analyses measure the quantity.
        unit: the unit of the quantity.
    """

    quantity: str
    level: float
    side: Literal["above", "below"]
    source: Source = "measurements"
    at: At = "last"
    coordinate: float | None = None
    analysis: str | None = None
    unit: str = ""

    def selects(self, cells: Cells, recorded: Recorded | None = None) -> Selected:
        """As of any claim; never decided also where a cell has one seed, which has no interval."""
        selected = super().selects(cells, recorded)
        has_one = bool(selected.cells) and selected.num_seeds < 2
        return selected._replace(never=[*selected.never, because("one_seed")]) if has_one else selected

    def decide(self, tables: Tables) -> Verdict:
        """Compare the mean of every cell that has the quantity with the level."""
        tables, sign = self.only(tables), SIGNS[self.side]
        rows = quantity_rows(tables, self.source, self.quantity, self.analysis, self.coordinate)
        try:
            values = values_by_cell(rows, tables.runs, self.at, sign > 0)
        except AmbiguousValueError as ambiguous:
            return Verdict("not run", [ambiguous.reason])
        if not values:
            return Verdict("not run", [because("no_run_has", quantity=self.quantity), *absent_runs(tables.runs)])
        decided = decide_sign(
            {key: {seed: value - self.level for seed, value in by_seed.items()} for key, by_seed in values.items()},
            sign,
        )
        evidence: list[dict[str, Any]] = [
            {
                **dict(zip(("dataset", "model", "method"), key, strict=True)),
                "value": self.level + interval.mean,
                "effect": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "n": interval.num,
                "decision": decided.decisions[key],
            }
            for key, interval in decided.intervals.items()
        ]
        mean, low, high = decided.pooled[:3]
        name = in_words(self.quantity)
        label = f"{name} − {self.level:g}" + (f" ({self.unit})" if self.unit else "")
        caption = f"Difference of {name} from {self.level:g}: mean over seeds and its 95% interval."
        pooled = {"method": "pooled", "effect": mean, "low": low, "high": high}
        curves = curve_figure(rows, tables.runs, name)
        return Verdict(
            decided.decision,
            [*decided.reasons, *absent_runs(tables.runs)],
            mean,
            low,
            high,
            unit=self.unit,
            num_runs=decided.pooled.num,
            num_runs_needed=decided.num_runs_needed,
            cells=evidence,
            figures=[interval_figure([*evidence, pooled], label, caption), *([] if curves is None else [curves])],
        )
