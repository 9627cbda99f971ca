"""The marks of figures: curves with their bounds, intervals by cell, heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

INK, PAPER = "#1f2a37", "#fdfefe"
MARKERS = "osD^vP*X"
DASHES = {"bound": ":", "upper bound": ":", "lower bound": "-."}
WIDTHS = {1: 5.2, 2: 7.4, 3: 9.4}  # inches, by columns of panels, with the legend
PANEL_HEIGHT, ROW_HEIGHT = 2.1, 0.24  # inches
MAX_MARKED = 12  # a curve of at most so many points shows them
MAX_ANNOTATED = 36  # a heat map of at most so many cells shows their values


class Look(NamedTuple):
    """How a series looks in every figure."""

    colour: str
    marker: str


def curves(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """Lines with the range of the seeds; beside a bound, measured dots and the dotted bound."""
    panels = list(dict.fromkeys(data["panel"]))
    series = sorted(set(data["series"]))
    is_single = data["x"].nunique() == 1
    if is_single:
        data = data.assign(x=data["series"].map(series.index))
    bounds = [role for role in DASHES if (data["role"] == role).any()]
    figure, axes = _grid(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        for (name, role), part in data[data["panel"] == panel].groupby(["series", "role"]):
            ordered = part.sort_values("x", kind="stable")
            if role != "measured":
                _bound(axis, ordered, look_of[name], DASHES[role], is_single)
            elif bounds or is_single:
                _dots(axis, ordered, look_of[name])
            else:
                _line(axis, ordered, look_of[name])
        _scale(axis, settings, is_single)
        axis.set_title(panel)
    figure.supxlabel("" if is_single else settings["x_label"], fontsize=9)
    figure.supylabel(settings["y_label"], fontsize=9)
    _legend(figure, {name: look_of[name] for name in series}, bounds)
    sns.despine(figure)
    return figure


def intervals(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """A row for each interval, under the name of its cell; hollow where there is no interval."""
    rows: list[tuple[str, Any]] = []
    for panel in dict.fromkeys(data["panel"]):
        rows += [(panel, None)] if panel else []
        rows += [(row.series, row) for row in data[data["panel"] == panel].itertuples()]
    figure = Figure((WIDTHS[2], 0.8 + ROW_HEIGHT * len(rows)), layout="constrained")
    axis = figure.add_subplot()
    axis.axvline(0, color=INK, lw=0.9, ls=(0, (4, 3)))
    for position, (name, row) in enumerate(rows):
        if row is not None:
            look = look_of[name] if row.panel else Look(INK, "D")
            _interval(axis, row, position, look)
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel=settings["x_label"], yticks=range(len(rows)))
    for label, (_, row) in zip(axis.set_yticklabels([name for name, _ in rows]), rows, strict=True):
        label.set_fontweight("bold" if row is None or not row.panel else "normal")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    sns.despine(figure, left=True)
    return figure


def heatmaps(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """A panel of cells: x the column, series the row, y the colour."""
    panels = list(dict.fromkeys(data["panel"]))
    figure, axes = _grid(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        part = data[data["panel"] == panel]
        cells = part.pivot(index="series", columns="x", values="y").reindex(list(dict.fromkeys(part["series"])))
        sns.heatmap(
            cells,
            ax=axis,
            cmap="viridis",
            vmin=data["y"].min(),
            vmax=data["y"].max(),
            annot=cells.size <= MAX_ANNOTATED,
            fmt=".3g",
            cbar_kws={"label": settings["y_label"]},
        )
        axis.set(title=panel, ylabel="", xlabel=settings["x_label"])
    return figure


def _line(axis: Axes, part: pd.DataFrame, look: Look) -> None:
    marker = look.marker if len(part) <= MAX_MARKED else ""
    axis.plot(part["x"], part["y"], color=look.colour, marker=marker, ms=3.5)
    axis.fill_between(part["x"], part["low"], part["high"], color=look.colour, alpha=0.18, lw=0)


def _dots(axis: Axes, part: pd.DataFrame, look: Look) -> None:
    bars = np.abs(part[["low", "high"]].to_numpy().T - part["y"].to_numpy())
    axis.errorbar(part["x"], part["y"], bars, color=look.colour, marker=look.marker, ls="", ms=4, lw=0.8)


def _bound(axis: Axes, part: pd.DataFrame, look: Look, dashes: str, is_single: bool) -> None:
    shape: dict[str, Any] = {"ls": "", "marker": "_", "ms": 14} if is_single else {"ls": dashes}
    axis.plot(part["x"], part["y"], color=look.colour, **shape)


def _interval(axis: Axes, row: Any, position: int, look: Look) -> None:
    if math.isnan(row.low):
        axis.plot(row.y, position, color=look.colour, marker=look.marker, ms=5, mfc=PAPER)
        return
    axis.plot([row.low, row.high], [position, position], color=look.colour, lw=2.2, solid_capstyle="butt")
    axis.plot(row.y, position, color=look.colour, marker=look.marker, ms=5)


def _scale(axis: Axes, settings: Mapping[str, Any], is_single: bool) -> None:
    axis.set_yscale("log" if settings["log_y"] else "linear")
    if is_single:
        axis.set_xticks([])
        axis.margins(x=0.2)
    elif settings["log_x"]:
        axis.set_xscale("log")
    elif settings["x_label"] == "epoch":
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _grid(num_panels: int) -> tuple[Figure, list[Axes]]:
    columns = min(num_panels, 3)
    rows = math.ceil(num_panels / columns)
    figure = Figure((WIDTHS[columns], 0.4 + PANEL_HEIGHT * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[num_panels:]:
        unused.remove()
    return figure, list(axes[:num_panels])


def _legend(figure: Figure, look_of: Mapping[str, Look], bounds: Sequence[str]) -> None:
    """Every series, then every kind of bound."""
    width = 0 if bounds else 1.6
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ms=4, lw=width, label=name)
        for name, look in look_of.items()
    ]
    handles += [Line2D([], [], color=INK, ls=DASHES[role], label=role) for role in bounds]
    figure.legend(handles=handles, loc="outside right upper")
