"""Claims about how a number grows with a setting that was swept: its exponent, or its growth per doubling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from boundcheck.claims.shared.decision import side_of_range
from boundcheck.claims.shared.figures import as_sentence, averaged, in_words
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import Cells, SelectsCells
from boundcheck.claims.shared.statistics import Slope, log_log_slope
from boundcheck.claims.shared.sweeps import LEAST_VALUES, no_sweep, setting_label, sweep_rows
from boundcheck.claims.shared.values import At, Source, UndecidableError, absent_runs, quantity_rows, values_of_runs
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because


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

    def why_never(self, cells: Cells) -> list[Reason]:
        """A reason if the grid has no sweep of the setting."""
        return no_sweep(cells, self.x, self.quantity)

    def decide(self, tables: Tables) -> Verdict:
        """Fit the exponent of every group."""
        tables = self.only(tables)
        rows = quantity_rows(tables, self.source, self.quantity, self.analysis)
        try:
            values = values_of_runs(rows[rows["index"] < 0], tables.runs, self.at, higher_is_better=False)
        except UndecidableError as ambiguous:
            return Verdict("not run", [ambiguous.reason])
        return self.of_points(sweep_rows(values, tables.runs, self.x), tables.runs)

    def of_points(self, points: pd.DataFrame, runs: pd.DataFrame) -> Verdict:
        """What the slopes of these points say: one `value` per run, with the run's keys, `x` and `group`."""
        fits = {str(name): self._fit(part) for name, part in points.groupby("group")}
        slopes = {name: fit for name, fit in fits.items() if fit is not None}
        if not slopes:
            return Verdict("not run", [because("no_sweep", x=self.x, quantity=self.quantity), *absent_runs(runs)])
        slope_name, unit = ("exponent", "(exponent)") if self.logarithmic else ("per doubling", "per doubling")
        sides = {group: side_of_range(*fit[1:3], *self._limits) for group, fit in slopes.items()}
        if self.vacuous_below is not None:
            fall = [group for group, fit in slopes.items() if fit.high < self.vacuous_below]
            sides |= {group: "vacuous" for group in fall if sides[group] == "supported"}
        cells = [
            {"group": group, slope_name: fit.slope, "low": fit.low, "high": fit.high, "n": fit.num}
            | {"decision": sides[group]}
            for group, fit in slopes.items()
        ]
        names = ("quantity", "x", "logarithmic", "at_least", "at_most", "vacuous_below")
        groups = {group: [sides[group], *fit[:3]] for group, fit in slopes.items()}
        low, high = self._limits
        nearest = min(slopes, key=lambda group: min(slopes[group].slope - low, high - slopes[group].slope))
        return Verdict(
            of_groups([*sides.values()]),
            [because("slopes", **{name: getattr(self, name) for name in names}, groups=groups), *absent_runs(runs)],
            *slopes[nearest][:3],
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

    def _figure(self, slopes: Mapping[str, Slope], points: pd.DataFrame) -> Figure:
        name, setting = in_words(self.quantity), setting_label(self.x)
        points = points.assign(panel=name, series=points["group"])
        data = [averaged(points)]
        for group, fit in slopes.items():
            fitted = points[points["group"] == group].drop_duplicates("x")
            at = fit.intercept + fit.slope * np.log(fitted["x"]) / (1 if self.logarithmic else math.log(2))
            data.append(averaged(fitted.assign(y=np.exp(at) if self.logarithmic else at), "y", "formula"))
        caption = f"{as_sentence(name)} against {setting}: mean over seeds with their range, and the fit (dotted)."
        return Figure(
            pd.concat(data, ignore_index=True), "line", setting, name, caption, log_x=True, log_y=self.logarithmic
        )


def of_groups(decisions: Sequence[Decision]) -> Decision:
    """What a claim is whose groups are so: supported where all are that are not vacuous, and some are."""
    kinds = set(decisions)
    if kinds == {"vacuous"}:
        return "vacuous"
    if kinds <= {"supported", "vacuous"}:
        return "supported"
    return "contradicted" if "contradicted" in kinds and "supported" not in kinds else "inconclusive"
