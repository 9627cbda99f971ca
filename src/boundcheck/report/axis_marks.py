"""Draws the kinds of figures: curves with their bounds, intervals by cell, heat maps, pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from boundcheck.report.panels import (
    DASHES,
    INK,
    PAPER,
    Look,
    bound_shape,
    fitted_grid,
    grid,
    label_axes,
    legend,
    rows_figure,
    strips,
)

MAX_MARKED = 12  # curves with at most this number of points have markers
PIXEL = 8  # side of a drawn pixel of a picture, in pixels of the image
MAX_ANNOTATED = 36  # heat maps with at most this number of cells show the values


def curves(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """Lines with a band over the seeds; for "points", or beside bounds, dots with bars.

    Bounds are dotted lines. With a single x, the series are side by side and bounds are dashes.
    """
    panels = list(dict.fromkeys(data["panel"]))
    series = sorted(set(data["series"]))
    is_single = data["x"].nunique() == 1
    if is_single:
        data = data.assign(x=data["series"].map(series.index))
    bounds = [role for role in DASHES if (data["role"] == role).any()]
    is_dotted = bool(bounds) or is_single or settings["mark"] == "points"
    figure, axes = grid(len(panels), [*series, *bounds])
    for axis, panel in zip(axes, panels, strict=True):
        for (name, role), part in data[data["panel"] == panel].groupby(["series", "role"]):
            ordered = part.sort_values("x", kind="stable")
            if role != "measured":
                _bound(axis, ordered, look_of[name], DASHES[role], ordered["x"].nunique() == 1)
            elif is_dotted:
                _dots(axis, ordered, look_of[name])
            else:
                _line(axis, ordered, look_of[name])
        _scale(axis, settings, is_single)
        axis.set_title(panel, y=1.02)
    label_axes(figure, "" if is_single else settings["x_label"], settings["y_label"])
    legend(figure, {name: look_of[name] for name in series}, bounds, is_single, is_dotted)
    sns.despine(figure)
    return figure


def intervals(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """One row for each effect with its interval, below the name of its panel; hollow if there is no interval."""
    rows: list[tuple[str, Any]] = []
    for panel in dict.fromkeys(data["panel"]):
        rows += [(panel, None)] if panel else []
        rows += [(row.series, row) for row in data[data["panel"] == panel].itertuples()]
    figure, axis = rows_figure([name for name, _ in rows])
    axis.axvline(0, color=INK, lw=0.9, ls=(0, (4, 3)))
    for position, (name, row) in enumerate(rows):
        if row is not None:
            _interval(axis, row, position, look_of[name] if row.panel else Look(INK, "D"))
    for text, (_, row) in zip(axis.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row is None or not row.panel else "normal")
    axis.set_xlabel(settings["x_label"])
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    sns.despine(figure, left=True)
    return figure


def heatmaps(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """Heat maps: x is the column of a cell, series its row, y its colour."""
    panels = list(dict.fromkeys(data["panel"]))
    figure, axes = fitted_grid(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        part = data[data["panel"] == panel]
        cells = part.pivot(index="series", columns="x", values="y").reindex(list(dict.fromkeys(part["series"])))
        limits = {"vmin": data["y"].min(), "vmax": data["y"].max()}
        sns.heatmap(cells, ax=axis, cmap="viridis", annot=cells.size <= MAX_ANNOTATED, fmt=".3g", cbar=False, **limits)
        axis.set(title=panel, ylabel="", xlabel=settings["x_label"])
        axis.tick_params(axis="y", rotation=0)
    figure.colorbar(axes[0].collections[0], ax=axes, label=settings["y_label"])
    return figure


def pictures(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> Figure:
    """Strips of grey pictures below each other, of equal width, with their names on the left."""
    panels = list(dict.fromkeys(data["panel"]))
    columns, rows = data["x"].to_numpy(np.int64), data["series"].astype(np.int64).to_numpy()
    shape = rows.max() + 1, columns.max() + 1
    figure, axes = strips(panels, *shape)
    for axis, panel in zip(axes, panels, strict=True):
        shades = np.full(shape, np.nan)
        is_here = (data["panel"] == panel).to_numpy()
        shades[rows[is_here], columns[is_here]] = data["y"][is_here]
        # enlarged here, so that every viewer draws sharp pixels
        large = shades.repeat(PIXEL, axis=0).repeat(PIXEL, axis=1)
        axis.imshow(large, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto")
    return figure


def _line(axis: Axes, part: pd.DataFrame, look: Look) -> None:
    marker = look.marker if len(part) <= MAX_MARKED else ""
    axis.plot(part["x"], part["y"], color=look.colour, marker=marker, ms=3.5)
    axis.fill_between(part["x"], part["low"], part["high"], color=look.colour, alpha=0.18, lw=0)


def _dots(axis: Axes, part: pd.DataFrame, look: Look) -> None:
    bars = np.abs(part[["low", "high"]].to_numpy().T - part["y"].to_numpy())
    axis.errorbar(part["x"], part["y"], bars, color=look.colour, marker=look.marker, ls="", ms=4, lw=0.8)


def _bound(axis: Axes, part: pd.DataFrame, look: Look, dashes: str, is_single: bool) -> None:
    axis.plot(part["x"], part["y"], color=look.colour, **bound_shape(dashes, is_single))


def _interval(axis: Axes, row: Any, position: int, look: Look) -> None:
    if math.isnan(row.low):
        axis.plot(row.y, position, color=look.colour, marker=look.marker, ms=5, mfc=PAPER)
        return
    axis.plot([row.low, row.high], [position, position], color=look.colour, lw=2.2, solid_capstyle="butt")
    axis.plot(row.y, position, color=look.colour, marker=look.marker, ms=5)


def _scale(axis: Axes, settings: Mapping[str, Any], is_single: bool) -> None:
    if settings["log_y"]:
        axis.set_yscale("log")
        _plain_log_labels(axis.yaxis)
    if is_single:
        axis.set_xticks([])
        axis.margins(x=0.2)
    elif settings["log_x"]:
        axis.set_xscale("log")
        _plain_log_labels(axis.xaxis)
    elif settings["x_label"] == "epoch":
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _plain_log_labels(axis: Axis) -> None:
    """Write 0.01 instead of 10⁻², because the text of the SVG cannot have TeX exponents."""
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
