"""Claims about how a number grows with a setting that was swept: its exponent, or its growth per doubling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.bound_sweep import as_sentence
from boundcheck.claims.pairs import AmbiguousValueError, At, absences, run_values
from boundcheck.claims.rows import RUN
from boundcheck.claims.statistics import Slope, log_log_slope
from boundcheck.claims.sweeps import sweep_rows
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["panel", "series", "role", "x", "y", "low", "high"]


@dataclass(frozen=True)
class PowerLaw:
    """The exponent p of y ≈ C x^p lies in a stated range, for a setting x that runs differ in by nothing else.

    Each group of runs that differ in x only, with at least three values of it, gives a least-squares slope of log y on
    log x over all its seeds, with its 95% interval: `supported` where the interval lies in the range, `contradicted`
    where it lies outside, else `inconclusive`. The claim is supported where all groups are, contradicted where one is
    and none is supported. With `logarithmic` false the slope is that of y itself per doubling of x.

    Args:
        statement: what the paper states.
        reference: where it does.
        x: a setting of models (`width`, `depth`), or of datasets (`dataset.train_size`).
        quantity: a quantity of the curves or measurements, without index.
        at_least: the least slope of the range; none: no limit.
        at_most: the largest slope of the range; none: no limit.
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
        fit = log_log_slope(points["x"], np.exp(y - y.mean()))  # the slope of y against log x
        slope, low, high = (value * math.log(2) for value in fit[:3])
        return Slope(slope, low, high, y.mean() + fit.intercept, fit.num)

    def _side(self, fit: Slope) -> Decision:
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        if math.isnan(fit.low):
            return "inconclusive"
        if low <= fit.low and fit.high <= high:
            return "supported"
        return "contradicted" if fit.high < low or fit.low > high else "inconclusive"

    def _verdict(self, slopes: dict[str, Slope], points: pd.DataFrame, runs: pd.DataFrame) -> Verdict:
        name = "exponent" if self.logarithmic else "per doubling"
        cells: list[dict[str, Any]] = [
            {"group": group, name: fit.slope, "low": fit.low, "high": fit.high, "n": fit.num,
             "decision": self._side(fit)}
            for group, fit in slopes.items()
        ]  # fmt: skip
        decisions = [cell["decision"] for cell in cells]
        decision: Decision = "inconclusive"
        if all(d == "supported" for d in decisions):
            decision = "supported"
        elif "contradicted" in decisions and "supported" not in decisions:
            decision = "contradicted"
        counts = ", ".join(f"{decisions.count(d)} {d}" for d in dict.fromkeys(decisions))
        fits = "; ".join(f"{g}: {f.slope:.3g} [{f.low:.3g}, {f.high:.3g}]" for g, f in slopes.items())
        reason = f"stated: {self._range()}; {len(cells)} sweeps of {self.x}: {counts} ({fits})"
        return Verdict(
            decision,
            "; ".join(filter(None, (reason, absences(runs)))),
            effect=float(np.mean([fit.slope for fit in slopes.values()])),
            low=min(fit.low for fit in slopes.values()),
            high=max(fit.high for fit in slopes.values()),
            unit="(exponent)" if self.logarithmic else "per doubling",
            num_runs=len(points[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[self._figure(slopes, points)],
        )

    def _range(self) -> str:
        low = "" if self.at_least is None else f"{self.at_least:g} ≤ "
        high = "" if self.at_most is None else f" ≤ {self.at_most:g}"
        return f"{low}{'exponent' if self.logarithmic else 'change per doubling'}{high}"

    def _figure(self, slopes: dict[str, Slope], points: pd.DataFrame) -> Figure:
        import pandas as pd

        name, setting = (
            self.quantity.replace("_", " ").replace("hessian", "Hessian"),
            self.x.rpartition(".")[2].replace("_", " "),
        )
        table = points.groupby(["group", "x"])["value"].agg(["mean", "min", "max"]).reset_index()
        table = table.set_axis(["series", "x", "y", "low", "high"], axis=1).assign(panel=name, role="measured")
        fitted = []
        for group, fit in slopes.items():
            x = np.unique(points.loc[points["group"] == group, "x"])
            at = fit.intercept + fit.slope * np.log(x) / (1 if self.logarithmic else math.log(2))
            y = np.exp(at) if self.logarithmic else at
            fitted.append(
                pd.DataFrame({"series": group, "x": x, "y": y, "low": y, "high": y, "panel": name, "role": "bound"})
            )
        data = pd.concat([table, *fitted], ignore_index=True)[COLUMNS]
        caption = f"{as_sentence(name)} against {setting}: mean over seeds with their range, and the fit (dotted)."
        return Figure(data, "line", setting, name, caption, log_x=True, log_y=self.logarithmic)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _frame(values: dict[tuple[str, str, str, int], float]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([(*key, value) for key, value in values.items()], columns=[*RUN, "value"])
