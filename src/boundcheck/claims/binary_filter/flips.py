"""The measured flip ratio beside the formula for white gradients."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from boundcheck.claims.binary_filter.relations import one_of_equals
from boundcheck.claims.shared.decision import side_of_range
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.kinds import method_of, model_of
from boundcheck.claims.shared.rows import KEYS, RUN, columns_of, records
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, SelectsCells, Settings, cells_of
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import absent_runs
from boundcheck.contracts import NAN
from boundcheck.optional_members import FiltersGradients, PassesGradientsOn
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.binary_filter.flips import filter_flip_ratio
from boundcheck.verdicts import Figure, Tables, Verdict, because


def predicted_ratios(cell: Settings, factors: np.ndarray, gradient_std: float) -> np.ndarray | None:
    """Flip ratio (T,) of a cell by theory, at factors (T,) of the learning rate; None where there is no formula.

    There is none for what is no filter of the gradient alone (see `as_filter` of the method), and for layers whose
    latent weights do not get the gradient of their bits. For a start that is remembered the standard deviation of a
    weight's gradient counts.
    """
    method, model = method_of(cell), model_of(cell)
    has_formula = isinstance(method, FiltersGradients) and isinstance(model, PassesGradientsOn)
    mapped = method.as_filter(factors) if has_formula and model.passes_gradient_on else None
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
        """Predict the flip ratio of every run at its epochs, and compare it with the measured one."""
        tables, limit = self.only(tables), math.log(self.factor)
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        curves = tables.curves.merge(done)
        courses = _courses(curves, done, cells_of(tables.runs))
        if courses.empty:
            return Verdict("not run", absent_runs(tables.runs) or [because("no_run_has", quantity=self.quantity)])
        last = courses.groupby(list(RUN))["epoch"].transform("max")
        used = courses[(courses["epoch"] >= self.from_epoch) & (courses["epoch"] < last) & (courses["measured"] > 0)]
        means = used.groupby(list(RUN))[["measured", "predicted"]].mean().reset_index()
        means["log"] = np.log(means["measured"] / means["predicted"])
        interval = student_interval(list(means.groupby("seed")["log"].mean()))
        decision = side_of_range(*interval[1:3], -limit, limit)
        of_cells = {cell: student_interval(logs) for cell, logs in means.groupby(list(CELL))["log"]}
        beyond = [cell for cell, own in of_cells.items() if side_of_range(*own[1:3], -limit, limit) == "contradicted"]
        if decision == "supported" and beyond:
            decision = "inconclusive"
        table = means.groupby(list(CELL)).agg(
            measured=("measured", "mean"), predicted=("predicted", "mean"), n=("seed", "nunique"), log=("log", "mean")
        )
        table["measured / predicted"] = np.exp(table.pop("log"))
        cells = records(table.reset_index())
        num = sum(1 / self.factor <= cell["measured / predicted"] <= self.factor for cell in cells)
        reasons = [because("within_factor", factor=self.factor, num=num, num_cells=len(cells), beyond=beyond)]
        if left_out := sorted(_cells_in(curves[curves["quantity"] == self.quantity]) - _cells_in(courses)):
            reasons.append(because("no_formula", cells=left_out))
        return Verdict(
            decision,
            reasons,
            **interval.exp().as_effect("measured / predicted"),
            cells=cells,
            figures=_figures(curves, courses),
        )


def _courses(curves: pd.DataFrame, done: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """Of cells with a formula a row per run and epoch, in the order of the runs: `measured`, `predicted`."""
    rows = columns_of(curves[curves["index"] == -1], KEYS, ["flip_ratio", "lr_factor", "gradient_rms"])
    rows = done.merge(rows).rename(columns={"flip_ratio": "measured"}).dropna(subset=["measured", "lr_factor"])
    parts = [rows[:0].assign(predicted=NAN)]
    groups: Any = rows.groupby(list(RUN), sort=False)
    for (*cell, _), part in groups:
        predicted = _predicted(cells[*cell], part)
        if predicted is not None:
            parts.append(part.assign(predicted=predicted))
    return pd.concat(parts, ignore_index=True)


def _cells_in(rows: pd.DataFrame) -> set[CellKey]:
    return set(zip(rows["dataset"], rows["model"], rows["method"], strict=True))


def _predicted(cell: Settings, table: pd.DataFrame) -> np.ndarray | None:
    """The means (n,) of the predicted ratios over the steps that end at each of the n rows."""
    steps = np.diff(table["step"].to_numpy(), prepend=0).astype(int)
    factors = np.repeat(table["lr_factor"].to_numpy(), steps)
    ratios = predicted_ratios(cell, factors, float(table["gradient_rms"].iloc[0]))
    return None if ratios is None else np.array([part.mean() for part in np.split(ratios, np.cumsum(steps)[:-1])])


def _figures(curves: pd.DataFrame, courses: pd.DataFrame) -> list[Figure]:
    """A figure for each network, a panel for each method: the flip ratio of every layer, of all, and the formula."""
    names = {"method": "panel", "epoch": "x"}
    flips = curves[curves["quantity"] == "flip_ratio"].merge(courses[[*RUN, "epoch"]])
    flips = flips.assign(series=[f"layer {i}" if i >= 0 else "all layers" for i in flips["index"]])
    caption = (
        "Flip ratio, the mean of the steps from one mark to the next: measured (dots; mean and range over seeds), and "
        "the formula for white gradients, of one variance in all layers (dotted)."
    )
    label, figures = "share of bits that flip in a step", []
    for (dataset, model), predicted in courses.assign(series="all layers").groupby(["dataset", "model"]):
        measured = flips[(flips["dataset"] == dataset) & (flips["model"] == model)].rename(columns=names)
        formula = averaged(predicted.rename(columns=names), "predicted", "formula")
        data = pd.concat([averaged(measured), formula], ignore_index=True)
        title = f"{dataset} · {model}. {caption}"
        figures.append(Figure(data[data["y"] > 0], "line", "epoch", label, title, log_y=True))
    return figures
