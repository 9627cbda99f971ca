"""Claims about how a number grows with a setting that was swept: its exponent, or its growth per doubling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.bound_sweep import setting_label
from boundcheck.claims.shared.figures import as_sentence, in_words
from boundcheck.claims.shared.pairs import AmbiguousValueError, At, absences, run_values
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import Slope, log_log_slope
from boundcheck.claims.shared.sweeps import sweep_rows
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["panel", "series", "role", "x", "y", "low", "high"]


@dataclass(frozen=True)
class PowerLaw:
    """The exponent p of y ≈ C x^p lies in a stated range, for a setting x that runs differ in by nothing else.

    Each group of runs that differ in x only, with at least three values of it, gives a least-squares slope of log y on
    log x over all its seeds, with its 95% interval: `supported` where the interval lies in the range, `contradicted`
    where it lies outside, else `inconclusive`; `vacuous` where it lies below `vacuous_below`. The claim is supported
    where all groups are but vacuous ones, contradicted where one is and none is supported. The effect is the slope of
    the group that keeps the range most narrowly, or breaks it most. With `logarithmic` false the slope is that of y
    itself per doubling of x.

    Args:
        statement: what the paper states.
        reference: where it does.
        x: a setting of models (`width`, `depth`), or of datasets (`dataset.train_size`).
        quantity: a quantity of the curves or measurements, without index.
        at_least: the least slope of the range; none: no limit.
        at_most: the largest slope of the range; none: no limit.
        vacuous_below: what falls does not show how fast it may grow, so that a slope whose interval lies below this is
            in the range trivially; none: never.
        models: names of models; patterns are allowed.
        methods: names of methods; patterns are allowed.
        source: "curves" or "measurements".
        at: "last" or "best" recorded value of each run, or an epoch.
        logarithmic: whether it is an exponent.
        analysis: whose measurements, where several analyses measure the quantity.
    """

    statement: str
    reference: str
    x: str
    quantity: str
    at_least: float | None = None
    at_most: float | None = None
    vacuous_below: float | None = None
    models: Sequence[str] = ("*",)
    methods: Sequence[str] = ("*",)
    source: str = "measurements"
    at: At = "last"
    logarithmic: bool = True
    analysis: str | None = None

    def __post_init__(self) -> None:
        if self.source not in ("curves", "measurements"):
            raise ValueError(f"source: got {self.source!r}; allowed: curves, measurements")
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least, at_most: got none; allowed: at least one")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least: got {self.at_least}; allowed: at most at_most ({self.at_most})")

    def decide(self, tables: Tables) -> Verdict:
        """Fit every group."""
        runs = tables.runs
        wanted = [
            _matches(model, self.models) and _matches(method, self.methods)
            for model, method in zip(runs["model"], runs["method"], strict=True)
        ]
        runs = runs[wanted]
        rows = tables.curves if self.source == "curves" else tables.measurements
        rows = rows[(rows["quantity"] == self.quantity) & (rows["index"] < 0)]
        if self.analysis is not None:
            rows = rows[rows["analysis"] == self.analysis]
        try:
            values = run_values(rows, runs, self.at, higher_is_better=False)
        except AmbiguousValueError as ambiguous:
            return Verdict("not run", f"{self.quantity}: {ambiguous}")
        points = sweep_rows(_frame(values), runs, self.x)
        fits = {str(name): self._fit(part) for name, part in points.groupby("group")}
        slopes = {name: fit for name, fit in fits.items() if fit is not None}
        if not slopes:
            reason = f"no runs differ in {self.x} only and have three values of it with a {self.quantity}"
            return Verdict("not run", "; ".join(filter(None, (reason, absences(runs)))))
        return self._verdict(slopes, points, runs)

    def _fit(self, points: pd.DataFrame) -> Slope | None:
        y = points["value"].to_numpy()
        if self.logarithmic:
            points, y = points[y > 0], y[y > 0]
        if points["x"].nunique() < 3:
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

    def _verdict(self, slopes: dict[str, Slope], points: pd.DataFrame, runs: pd.DataFrame) -> Verdict:
        name = "exponent" if self.logarithmic else "per doubling"
        cells: list[dict[str, Any]] = [
            {"group": group, name: fit.slope, "low": fit.low, "high": fit.high, "n": fit.num,
             "decision": self._side(fit)}
            for group, fit in slopes.items()
        ]  # fmt: skip
        decisions = [cell["decision"] for cell in cells]
        counts = ", ".join(f"{decisions.count(d)} {d}" for d in dict.fromkeys(decisions))
        fits = "; ".join(f"{g}: {f.slope:.3g} [{f.low:.3g}, {f.high:.3g}]" for g, f in slopes.items())
        sweeps = "1 sweep" if len(cells) == 1 else f"{len(cells)} sweeps"
        reason = f"stated: {self._range()}; {sweeps} of {self.x}: {counts} ({fits})"
        if "vacuous" in decisions:
            reason += f"; what lies below {self.vacuous_below:g} is in that range trivially"
        nearest = min(slopes, key=lambda group: self._margin(slopes[group]))
        fit, unit = slopes[nearest], "(exponent)" if self.logarithmic else "per doubling"
        return Verdict(
            of_groups(decisions),
            "; ".join(filter(None, (reason, absences(runs)))),
            effect=fit.slope,
            low=fit.low,
            high=fit.high,
            unit=f"{unit} of {nearest}" if len(slopes) > 1 else unit,
            num_runs=len(points[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[self._figure(slopes, points)],
        )

    @property
    def label(self) -> str:
        """What is fitted, in words."""
        return in_words(self.quantity)

    def _range(self) -> str:
        low = "" if self.at_least is None else f"{self.at_least:g} ≤ "
        high = "" if self.at_most is None else f" ≤ {self.at_most:g}"
        return f"{low}{'exponent' if self.logarithmic else 'change per doubling'}{high}"

    def _figure(self, slopes: dict[str, Slope], points: pd.DataFrame) -> Figure:
        import pandas as pd

        name, setting = self.label, setting_label(self.x)
        table = points.groupby(["group", "x"])["value"].agg(["mean", "min", "max"]).reset_index()
        table = table.set_axis(["series", "x", "y", "low", "high"], axis=1).assign(panel=name, role="measured")
        fitted = []
        for group, fit in slopes.items():
            x = np.unique(points.loc[points["group"] == group, "x"])
            at = fit.intercept + fit.slope * np.log(x) / (1 if self.logarithmic else math.log(2))
            y = np.exp(at) if self.logarithmic else at
            fitted.append(
                pd.DataFrame({"series": group, "x": x, "y": y, "low": y, "high": y, "panel": name, "role": "formula"})
            )
        data = pd.concat([table, *fitted], ignore_index=True)[COLUMNS]
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


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _frame(values: dict[tuple[str, str, str, int], float]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([(*key, value) for key, value in values.items()], columns=[*RUN, "value"])
