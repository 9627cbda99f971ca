"""The measured flip ratio beside the formula for white gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from boundcheck.claims.binary_filter.relations import one_of_equals
from boundcheck.claims.shared.kinds import method_of, model_of
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, SelectsCells, Settings, cells_of
from boundcheck.claims.shared.statistics import Interval, student_interval
from boundcheck.claims.shared.values import absent_runs
from boundcheck.contracts import NAN
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.binary_filter.flips import filter_flip_ratio
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because


def predicted_ratios(cell: Settings, factors: np.ndarray, gradient_std: float) -> np.ndarray | None:
    """Flip ratio (T,) of a cell by theory; None where there is no formula.

    There is none for what is no filter of the gradient alone (see `as_filter` of the method), and for layers whose
    latent weights do not get the gradient of their bits.

    Args:
        cell: its resolved settings.
        factors: the factors of the learning rate's schedule, (T,).
        gradient_std: standard deviation of a weight's gradient, for a start that is remembered.
    """
    method, model = method_of(cell), model_of(cell)
    if not (hasattr(method, "as_filter") and hasattr(model, "passes_gradient_on")):
        return None
    mapped = method.as_filter(factors) if model.passes_gradient_on else None
    if mapped is None:
        return None
    start = model.latent_variance(method.init_scale) / gradient_std**2 if gradient_std > 0 else 0.0
    return filter_flip_ratio(mapped, start)


@settings(kw_only=True)
class FlipRatioFormula(SelectsCells):
    """The flip ratio between evaluations is that of white gradients through the same filter, up to a factor.

    Compared from epoch `from_epoch` to the last evaluation but one, as means; the effect is the geometric mean over
    runs of measured/predicted. `supported` where its 95% interval over seeds lies within [1/`factor`, `factor`] and
    that of no cell outside, `contradicted` where it lies outside, else `inconclusive`. Real gradients have a mean that
    moves, which the formula knows nothing of.

    Of selected cells that have the same bits by theory one counts. Cells without a formula are left out and named.

    Args:
        factor: how far measured and predicted may be apart.
        from_epoch: the first epoch that counts.
    """

    factor: Annotated[float, Field(gt=1)] = 2.0
    from_epoch: NotNegative = 2.0

    quantity: ClassVar[str] = "flip_ratio"
    source: ClassVar[str] = "curves"

    def chosen(self, cells: Cells) -> list[CellKey]:
        """The selected cells, sorted, one of those that have the same bits."""
        return one_of_equals(cells, super().chosen(cells))

    def decide(self, tables: Tables) -> Verdict:
        """Predict every run's epochs and compare."""
        tables = self.only(tables)
        courses = self._courses(tables)
        if courses is None:
            return Verdict("not run", absent_runs(tables.runs) or [because("no_run_has", quantity=self.quantity)])
        last = courses.groupby(list(RUN))["epoch"].transform("max")
        used = courses[(courses["epoch"] >= self.from_epoch) & (courses["epoch"] < last) & (courses["measured"] > 0)]
        means = used.groupby(list(RUN))[["measured", "predicted"]].mean().reset_index()
        means["log"] = np.log(means["measured"] / means["predicted"])
        interval = student_interval(list(means.groupby("seed")["log"].mean()))
        sides = self._sides(means)
        decision = _side(interval, math.log(self.factor))
        if decision == "supported" and "contradicted" in sides.values():
            decision = "inconclusive"
        cells = _table(means)
        return Verdict(
            decision,
            self._reasons(tables, courses, cells, sides),
            math.exp(interval.mean),
            math.exp(interval.low),
            math.exp(interval.high),
            unit="measured / predicted",
            num_runs=interval.num,
            cells=cells,
            figures=_figures(tables, courses),
        )

    def _sides(self, means: pd.DataFrame) -> dict[CellKey, Decision]:
        """What the runs of each cell say on their own."""
        groups: Any = means.groupby(list(CELL))["log"]
        return {cell: _side(student_interval(list(logs)), math.log(self.factor)) for cell, logs in groups}

    def _reasons(
        self,
        tables: Tables,
        courses: pd.DataFrame,
        cells: list[dict[str, Any]],
        sides: Mapping[CellKey, Decision],
    ) -> list[Reason]:
        num = sum(1 / self.factor <= cell["measured / predicted"] <= self.factor for cell in cells)
        beyond = [cell for cell, side in sides.items() if side == "contradicted"]
        reasons = [because("within_factor", factor=self.factor, num=num, num_cells=len(cells), beyond=beyond)]
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        recorded = tables.curves[tables.curves["quantity"] == self.quantity].merge(done, on=list(RUN))
        if left_out := sorted(_cells_in(recorded) - _cells_in(courses)):
            reasons.append(because("no_formula", cells=left_out))
        return reasons

    def _courses(self, tables: Tables) -> pd.DataFrame | None:
        """A row per finished run and epoch: measured, predicted. None where there is none."""
        cells = cells_of(tables.runs)
        curves = tables.curves[tables.curves["index"] == -1]
        by_run = dict(list(curves.groupby(list(RUN))))
        done = tables.runs[tables.runs["status"] == "done"]
        parts = []
        for run in done[list(RUN)].itertuples(index=False, name=None):
            course = by_run.get(run, curves[:0])
            table = course.pivot_table(index=["epoch", "step"], columns="quantity", values="value").reset_index()
            if not {"flip_ratio", "lr_factor"} <= set(table.columns):
                continue
            table = table.dropna(subset=["flip_ratio", "lr_factor"]).sort_values("step")
            predicted = _predicted(cells[run[:3]], table)
            if predicted is not None:
                part = pd.DataFrame({"epoch": table["epoch"], "measured": table["flip_ratio"], "predicted": predicted})
                parts.append(part.assign(**dict(zip(RUN, run, strict=True))))
        return pd.concat(parts, ignore_index=True) if any(map(len, parts)) else None


def _predicted(cell: Settings, table: pd.DataFrame) -> np.ndarray | None:
    """The means (n,) of the predicted ratios over the steps that end at each of the n rows."""
    steps = np.diff(table["step"].to_numpy(), prepend=0).astype(int)
    factors = np.repeat(table["lr_factor"].to_numpy(), steps)
    ratios = predicted_ratios(cell, factors, float(table["gradient_rms"].iloc[0]))
    return None if ratios is None else np.array([part.mean() for part in np.split(ratios, np.cumsum(steps)[:-1])])


def _side(interval: Interval, limit: float) -> Decision:
    """Whether an interval lies within ±limit (`supported`), outside it, or across; without an interval: across."""
    if -limit <= interval.low and interval.high <= limit:
        return "supported"
    return "contradicted" if interval.low > limit or interval.high < -limit else "inconclusive"


def _cells_in(rows: pd.DataFrame) -> set[CellKey]:
    return set(zip(rows["dataset"], rows["model"], rows["method"], strict=True))


def _table(means: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each cell: the means over its runs."""
    table = means.groupby(list(CELL)).agg(
        measured=("measured", "mean"), predicted=("predicted", "mean"), log=("log", "mean"), n=("seed", "nunique")
    )
    table["measured / predicted"] = np.exp(table.pop("log"))
    return [{str(k): v for k, v in row.items()} for row in table.reset_index().to_dict("records")]


def _figures(tables: Tables, courses: pd.DataFrame) -> list[Figure]:
    """A figure for each network, a panel for each method: the flip ratio of every layer, of all, and the formula."""
    rows = tables.curves[tables.curves["quantity"] == "flip_ratio"].merge(courses[[*RUN, "epoch"]], on=[*RUN, "epoch"])
    groups = rows.groupby([*CELL, "index", "epoch"])["value"]
    data = groups.agg(y="mean", low="min", high="max").reset_index()
    data = data.assign(series=[f"layer {i}" if i >= 0 else "all layers" for i in data["index"]], role="measured")
    groups = courses.groupby([*CELL, "epoch"])["predicted"]
    predicted = groups.mean().reset_index(name="y").assign(series="all layers", low=NAN, high=NAN, role="formula")
    data = pd.concat([data, predicted], ignore_index=True)
    data = data[data["y"] > 0].rename(columns={"method": "panel", "epoch": "x"})
    caption = (
        "Flip ratio, the mean of the steps from one mark to the next: measured (dots; mean and range over seeds), and "
        "the formula for white gradients, of one variance in all layers (dotted)."
    )
    columns, label = ["panel", "series", "role", "x", "y", "low", "high"], "share of bits that flip in a step"
    networks: Any = data.groupby(["dataset", "model"])
    return [
        Figure(part[columns], "line", "epoch", label, f"{dataset} · {model}. {caption}", log_y=True)
        for (dataset, model), part in networks
    ]
