"""Whether a measurement predicts the generalisation gap: rank correlation between methods, and between seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boundcheck.claims.shared.figures import COLUMNS, interval_figure, is_logarithmic
from boundcheck.claims.shared.pairs import AmbiguousValueError, absences, matching, quantity_rows, run_values
from boundcheck.claims.shared.statistics import Interval, pooled_rank_correlation, rank_correlation
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

GAPS = {"loss": ("test_loss", "full_train_loss"), "accuracy": ("train_accuracy", "test_accuracy")}


@dataclass(frozen=True)
class PredictsGap:
    """A larger value of a measurement goes with a larger generalisation gap, over the methods of each network.

    The verdict is that of the rank correlation between methods (their means over seeds, so that n counts methods and
    not runs), pooled over the (dataset, model) pairs in Fisher's z. Beside it stands the correlation within methods:
    of the seeds' deviations from their method's mean, which no difference between methods can cause. A correlation is
    no cause: methods differ in more than the measurement.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: the measurement, at the last snapshot of each run.
        gap: "loss", the test loss minus the training loss, or "accuracy", training minus test accuracy; at the end.
        methods: names of methods; the patterns of fnmatch (`gam_*`) are allowed.
        coordinate: which coordinate (a radius, say), where the quantity has several.
        analysis: whose measurements, where several analyses measure the quantity.
        paper_value: the paper's own figure, where one is sourced.
    """

    statement: str
    reference: str
    quantity: str
    gap: str = "loss"
    methods: Sequence[str] = ("*",)
    coordinate: float | None = None
    analysis: str | None = None
    paper_value: str = "not available"

    def __post_init__(self) -> None:
        if self.gap not in GAPS:
            raise ValueError(f"gap: got {self.gap!r}; allowed: {', '.join(GAPS)}")

    def decide(self, tables: Tables) -> Verdict:
        """Correlate over all finished runs that have both numbers."""
        methods = matching(list(tables.runs["method"].unique()), self.methods)
        try:
            points = self._points(tables, methods)
        except AmbiguousValueError as ambiguous:
            return Verdict("not run", f"{self.quantity}: {ambiguous}", paper_value=self.paper_value)
        evidence, between = self._evidence(points)
        if not between:
            reason = "a rank correlation needs four methods of one network with the measurement and the gap"
            return Verdict("not run", reason, paper_value=self.paper_value)
        pooled = pooled_rank_correlation(between)
        decision, reason = _decision(pooled)
        within = pooled_rank_correlation([row["interval"] for row in evidence if row["method"] == "within methods"])
        if within.num:
            reason += f"; within methods {within.mean:+.2f} [{within.low:+.2f}, {within.high:+.2f}]"
        rows = [{key: value for key, value in row.items() if key != "interval"} for row in evidence]
        return Verdict(
            decision,
            "; ".join(filter(None, (reason, absences(tables.runs[tables.runs["method"].isin(methods)])))),
            pooled.mean,
            pooled.low,
            pooled.high,
            unit="rank correlation",
            num_runs=pooled.num,
            paper_value=self.paper_value,
            cells=rows,
            figures=self._figures(points, rows),
        )

    def _points(self, tables: Tables, methods: Sequence[str]) -> pd.DataFrame:
        """A row per run: dataset, model, method, seed, x (the measurement), y (the gap)."""
        import pandas as pd

        rows = quantity_rows(tables, "measurements", self.quantity, methods, self.analysis, self.coordinate)
        values = [run_values(rows, tables.runs, "last", True)]
        for name in GAPS[self.gap]:
            values.append(run_values(quantity_rows(tables, "curves", name, methods), tables.runs, "last", True))
        x, larger, smaller = values
        found = [(*run, x[run], larger[run] - smaller[run]) for run in sorted(x) if run in larger and run in smaller]
        return pd.DataFrame(found, columns=["dataset", "model", "method", "seed", "x", "y"])

    def _evidence(self, points: pd.DataFrame) -> tuple[list[dict[str, Any]], list[Interval]]:
        evidence, between = [], []
        for (dataset, model), part in points.groupby(["dataset", "model"]):
            means = part.groupby("method")[["x", "y"]].mean()
            deviations = part[["x", "y"]] - part.groupby("method")[["x", "y"]].transform("mean")
            free = len(part) - len(means)  # degrees of freedom that the means leave
            for name, pairs, num in (("between methods", means, len(means)), ("within methods", deviations, free + 1)):
                interval = rank_correlation(pairs["x"].to_numpy(), pairs["y"].to_numpy(), num)
                if interval.num:
                    evidence.append(_row(dataset, model, name, interval))
                    between += [interval] if name == "between methods" else []
        return evidence, between

    def _figures(self, points: pd.DataFrame, evidence: Sequence[dict[str, Any]]) -> list[Figure]:
        name = self.quantity.replace("_", " ")
        data = points.assign(panel=points["dataset"] + " · " + points["model"], series=points["method"])
        data = data.assign(role="measured", low=NAN, high=NAN)[list(COLUMNS)]
        caption = f"Generalisation gap ({self.gap}) against {name}: a dot per run."
        scatter = Figure(data, "points", name, f"{self.gap} gap", caption, log_x=is_logarithmic(data["x"]))
        label = f"rank correlation of {name} and {self.gap} gap"
        return [interval_figure(evidence, label, "Rank correlation and its 95% interval."), scatter]


def _row(dataset: Any, model: Any, name: str, interval: Interval) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "model": model,
        "method": name,
        "effect": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": interval.num,
        "decision": _decision(interval)[0],
        "interval": interval,
    }


def _decision(interval: Interval) -> tuple[Any, str]:
    found = f"between methods {interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"
    if math.isnan(interval.low) or not interval.sign:
        return "inconclusive", f"the interval covers 0: {found}"
    return ("supported" if interval.sign > 0 else "contradicted"), found
