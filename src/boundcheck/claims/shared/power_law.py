"""Claims about how a number grows with a setting that was swept: its exponent, or its growth per doubling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.figures import COLUMNS, as_sentence, in_words
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import Cells, Recorded, Selected, SelectsCells
from boundcheck.claims.shared.statistics import Slope, log_log_slope
from boundcheck.claims.shared.sweeps import LEAST_VALUES, setting_label, sweep_rows, without_sweep
from boundcheck.claims.shared.values import (
    AmbiguousValueError,
    At,
    ByCell,
    Source,
    absent_runs,
    quantity_rows,
    values_by_cell,
)
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Figure, Tables, Verdict, because


@settings(kw_only=True)
class PowerLaw(SelectsCells):
    """The exponent p of y ≈ C x^p lies in a stated range, for a setting x that runs differ in by nothing else.

    Each group of runs that differ in x only, with at least three values of it, gives a least-squares slope of log y on
    log x over all its seeds, with its 95% interval: `supported` where the interval lies in the range, `contradicted`
    where it lies outside, else `inconclusive`; `vacuous` where it lies below `vacuous_below`. The claim is supported
    where all groups are but vacuous ones, contradicted where one is and none is supported. The effect is the slope of
    the group that keeps the range most narrowly, or breaks it most. With `logarithmic` false the slope is that of y
    itself per doubling of x.

    Args:
        x: a setting of models (`width`, `depth`), or of datasets (`dataset.train_size`).
        quantity: a quantity of the curves or measurements, without index.
        at_least: the least slope of the range; none: no limit.
        at_most: the largest slope of the range; none: no limit.
        vacuous_below: what falls does not show how fast it may grow, so that a slope whose interval lies below this is
            in the range trivially; none: never.
        source: the table that has the quantity.
        at: "last" or "best" recorded value of each run, or an epoch.
        logarithmic: whether it is an exponent.
        analysis: whose measurements, where several analyses measure the quantity.
    """

    x: str
    quantity: str
    at_least: float | None = None
    at_most: float | None = None
    vacuous_below: float | None = None
    source: Source = "measurements"
    at: At = "last"
    logarithmic: bool = True
    analysis: str | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least, at_most: got none; allowed: at least one")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least: got {self.at_least:g}; allowed: at most at_most ({self.at_most:g})")

    def selects(self, cells: Cells, recorded: Recorded | None = None) -> Selected:
        """As of any claim; never decided where the setting is not swept."""
        return without_sweep(super().selects(cells, recorded), cells, self.x, self.quantity)

    def decide(self, tables: Tables) -> Verdict:
        """Fit every group."""
        tables = self.only(tables)
        rows = quantity_rows(tables, self.source, self.quantity, self.analysis)
        try:
            values = values_by_cell(rows[rows["index"] < 0], tables.runs, self.at, higher_is_better=False)
        except AmbiguousValueError as ambiguous:
            return Verdict("not run", [ambiguous.reason])
        return self.of_points(sweep_rows(_frame(values), tables.runs, self.x), tables.runs)

    def of_points(self, points: pd.DataFrame, runs: pd.DataFrame) -> Verdict:
        """What the slopes of these points say.

        Args:
            points: one `value` per run, with the keys of runs and the columns `x` and `group`.
            runs: the selected runs, for those that are not there.
        """
        fits = {str(name): self._fit(part) for name, part in points.groupby("group")}
        slopes = {name: fit for name, fit in fits.items() if fit is not None}
        if not slopes:
            return Verdict("not run", [because("no_sweep", x=self.x, quantity=self.quantity), *absent_runs(runs)])
        slope_name, unit = ("exponent", "(exponent)") if self.logarithmic else ("per doubling", "per doubling")
        sides = {group: self._side(fit) for group, fit in slopes.items()}
        cells: list[Mapping[str, Any]] = [
            {"group": group, slope_name: fit.slope, "low": fit.low, "high": fit.high, "n": fit.num,
             "decision": sides[group]}
            for group, fit in slopes.items()
        ]  # fmt: skip
        stated = {
            name: getattr(self, name)
            for name in ("quantity", "x", "logarithmic", "at_least", "at_most", "vacuous_below")
        }
        groups = {group: [sides[group], *fit[:3]] for group, fit in slopes.items()}
        nearest = min(slopes, key=lambda group: self._margin(slopes[group]))
        fit = slopes[nearest]
        return Verdict(
            of_groups([*sides.values()]),
            [because("slopes", **stated, groups=groups), *absent_runs(runs)],
            effect=fit.slope,
            low=fit.low,
            high=fit.high,
            unit=f"{unit} of {nearest}" if len(slopes) > 1 else unit,
            num_runs=len(points[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[self._figure(slopes, points)],
        )

    def _fit(self, points: pd.DataFrame) -> Slope | None:
        y = points["value"].to_numpy()
        if self.logarithmic:
            points, y = points[y > 0], y[y > 0]
        if points["x"].nunique() < LEAST_VALUES:
            return None
        if self.logarithmic:
            return log_log_slope(points["x"], y)
        unit = max(float(np.abs(y - y.mean()).max()), 1e-300)  # its exponential stays finite
        fit = log_log_slope(points["x"], np.exp((y - y.mean()) / unit))  # the slope of y against log x
        slope, low, high = (unit * value * math.log(2) for value in fit[:3])
        return Slope(slope, low, high, y.mean() + unit * fit.intercept, fit.num)

    @property
    def _limits(self) -> tuple[float, float]:
        at_least = -math.inf if self.at_least is None else self.at_least
        return at_least, math.inf if self.at_most is None else self.at_most

    def _margin(self, fit: Slope) -> float:
        """How far inside the range the slope lies, below 0 outside."""
        low, high = self._limits
        return min(fit.slope - low, high - fit.slope)

    def _side(self, fit: Slope) -> Decision:
        low, high = self._limits
        if math.isnan(fit.low):
            return "inconclusive"
        if low <= fit.low and fit.high <= high:
            trivial = self.vacuous_below is not None and fit.high < self.vacuous_below
            return "vacuous" if trivial else "supported"
        return "contradicted" if fit.high < low or fit.low > high else "inconclusive"

    def _figure(self, slopes: Mapping[str, Slope], points: pd.DataFrame) -> Figure:
        name, setting = in_words(self.quantity), setting_label(self.x)
        table = points.groupby(["group", "x"])["value"].agg(["mean", "min", "max"]).reset_index()
        table = table.set_axis(["series", "x", "y", "low", "high"], axis=1).assign(role="measured")
        fitted = []
        for group, fit in slopes.items():
            x = np.unique(points.loc[points["group"] == group, "x"])
            at = fit.intercept + fit.slope * np.log(x) / (1 if self.logarithmic else math.log(2))
            y = np.exp(at) if self.logarithmic else at
            fitted.append(pd.DataFrame({"series": group, "x": x, "y": y, "low": y, "high": y, "role": "formula"}))
        data = pd.concat([table, *fitted], ignore_index=True).assign(panel=name)[list(COLUMNS)]
        caption = f"{as_sentence(name)} against {setting}: mean over seeds with their range, and the fit (dotted)."
        return Figure(data, "line", setting, name, caption, log_x=True, log_y=self.logarithmic)


def of_groups(decisions: Sequence[Decision]) -> Decision:
    """What a claim is whose groups are so: supported where all are that are not vacuous, and some are."""
    found = set(decisions)
    if found == {"vacuous"}:
        return "vacuous"
    if found <= {"supported", "vacuous"}:
        return "supported"
    return "contradicted" if "contradicted" in found and "supported" not in found else "inconclusive"


def _frame(values: ByCell) -> pd.DataFrame:
    rows = [(*cell, seed, value) for cell, by_seed in values.items() for seed, value in by_seed.items()]
    return pd.DataFrame(rows, columns=[*RUN, "value"])
