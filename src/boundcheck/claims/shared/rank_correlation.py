"""Whether a measurement predicts the generalisation gap: rank correlation between methods, and between seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd

from boundcheck.claims.shared.decision import DECISION_OF_CELL
from boundcheck.claims.shared.figures import COLUMNS, in_words, interval_figure, is_logarithmic, panels
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, SelectsCells
from boundcheck.claims.shared.statistics import Interval, pooled_rank_correlation, rank_correlation
from boundcheck.claims.shared.values import UndecidableError, absent_runs, quantity_rows, values_of_runs
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.verdicts import Figure, Tables, Verdict, because

LOSSES = ("test_loss", "full_train_loss")
BETWEEN, WITHIN = "between methods", "within methods"


@settings(kw_only=True)
class PredictsGap(SelectsCells):
    """A larger value of a measurement goes with a larger gap, test minus training loss, over each network's methods.

    The verdict is that of the rank correlation between methods (their means over seeds, so that n counts methods and
    not runs), pooled over the (dataset, model) pairs in Fisher's z. Beside it stands the correlation within methods:
    of the seeds' deviations from their method's mean, which no difference between methods can cause. A correlation is
    no cause: methods differ in more than the measurement.

    Args:
        quantity: the measurement, at the last snapshot of each run.
        coordinate: which coordinate (a radius, say), where the quantity has several.
        analysis: whose measurements, where several analyses measure the quantity.
    """

    quantity: str
    coordinate: float | None = None
    analysis: str | None = None

    source: ClassVar[str] = "measurements"

    def decide(self, tables: Tables) -> Verdict:
        """Correlate over all finished runs that have both numbers."""
        tables = self.only(tables)
        try:
            points = self._points(tables)
        except UndecidableError as ambiguous:
            return Verdict("not run", [ambiguous.reason])
        intervals = _intervals(points)
        between, within = ([i for *_, name, i in intervals if name == wanted] for wanted in (BETWEEN, WITHIN))
        if not between:
            return Verdict("not run", [because("too_few_methods"), *absent_runs(tables.runs)])
        pooled = pooled_rank_correlation(between)
        reasons = [] if pooled.sign else [because("interval_covers_0")]
        reasons += [
            because("rank_correlation", of=name, mean=interval.mean, low=interval.low, high=interval.high)
            for name, interval in ((BETWEEN, pooled), (WITHIN, pooled_rank_correlation(within)))
            if interval.num
        ]
        evidence = [
            dict(zip(CELL, cell, strict=True)) | of.as_evidence() | {"decision": DECISION_OF_CELL[of.sign]}
            for *cell, of in intervals
        ]
        return Verdict(
            DECISION_OF_CELL[pooled.sign],
            [*reasons, *absent_runs(tables.runs)],
            **pooled.as_effect("rank correlation"),
            cells=evidence,
            figures=self._figures(points, evidence),
        )

    def _points(self, tables: Tables) -> pd.DataFrame:
        """A row per run: dataset, model, method, seed, x (the measurement), y (the gap)."""
        rows = quantity_rows(tables, "measurements", self.quantity, self.analysis, self.coordinate)
        points = values_of_runs(rows, tables.runs, "last").rename(columns={"value": "x"})
        for name in LOSSES:
            values = values_of_runs(quantity_rows(tables, "curves", name), tables.runs, "last")
            points = points.merge(values.rename(columns={"value": name}), on=list(RUN))
        return points.assign(y=points["test_loss"] - points["full_train_loss"])

    def _figures(self, points: pd.DataFrame, evidence: Sequence[dict[str, Any]]) -> list[Figure]:
        name = in_words(self.quantity)
        data = points.assign(panel=panels(points), series=points["method"], role="measured", low=NAN, high=NAN)
        caption = f"Generalisation gap (loss) against {name}: a dot per run."
        scatter = Figure(data[[*COLUMNS]], "points", name, "loss gap", caption, is_logarithmic(data["x"]))
        label = f"rank correlation of {name} and loss gap"
        return [interval_figure(evidence, label, "Rank correlation and its 95% interval."), scatter]


def _intervals(points: pd.DataFrame) -> list[tuple[str, str, str, Interval]]:
    """Dataset, model, between or within methods, and the correlation, where there is one."""
    intervals = []
    for (dataset, model), part in points.groupby(["dataset", "model"]):
        means = part.groupby("method")[["x", "y"]].mean()
        deviations = part[["x", "y"]] - part.groupby("method")[["x", "y"]].transform("mean")
        num_free = len(part) - len(means)  # degrees of freedom that the means leave
        for name, pairs, num in ((BETWEEN, means, len(means)), (WITHIN, deviations, num_free + 1)):
            interval = rank_correlation(pairs["x"].to_numpy(), pairs["y"].to_numpy(), num)
            if interval.num:
                intervals.append((str(dataset), str(model), name, interval))
    return intervals
