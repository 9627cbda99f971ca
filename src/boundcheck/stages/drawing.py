"""Draw the figures of claims as SVG: the same data give the same bytes.

Text stays text, so that a page sets it in its own font. Ink, rules and paper have colours of their own that
`inline` replaces by the page's, so that one drawing serves a light and a dark page and stands alone as a file.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, RULE, PAPER = "#1f2a37", "#d5dbe3", "#fdfefe"
PAGE_COLOURS = {INK: "var(--ink)", RULE: "var(--rule)", PAPER: "none"}
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#b86aa8", "#a9744f", "#7f8a96", "#3f9bd8")
MARKERS = "osD^vP*X"
WIDTHS = {1: 4.4, 2: 6.4, 3: 7.6}  # inches, by columns of panels
PANEL_HEIGHT = 2.0
ROW_HEIGHT = 0.24
MAX_MARKED = 12  # a curve of at most so many points shows them
STYLE = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "boundcheck",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 8,
}


def colours(series: Sequence[str]) -> dict[str, Any]:
    """A colour for each name, by its place in the sorted list, the same in every figure of a report."""
    names = sorted(set(series))
    palette = PALETTE if len(names) <= len(PALETTE) else sns.husl_palette(len(names), l=0.55).as_hex()
    return dict(zip(names, palette, strict=False))


def draw(data: pd.DataFrame, settings: Mapping[str, Any], colour_of: Mapping[str, Any]) -> str:
    """A figure of `contracts.Figure` as the text of an SVG file.

    Args:
        data: panel, series, role, x, y, low, high.
        settings: mark, x_label, y_label, log_x, log_y.
        colour_of: the colour of each series.
    """
    draw_mark = {"interval": _draw_intervals, "heatmap": _draw_heatmaps}.get(settings["mark"], _draw_curves)
    style: Any = {**sns.axes_style("ticks"), **STYLE}
    with mpl.rc_context(style):
        figure = draw_mark(data, settings, colour_of)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)


def inline(svg: str, name: str, title: str) -> str:
    """A drawing as part of a page: its ids carry `name`, its colours are the page's, and `title` describes it."""
    body = svg[svg.index("<svg") :]
    head, rest = body[: body.index(">") + 1], body[body.index(">") + 1 :]
    width = float(re.search(r'width="([\d.]+)pt"', head)[1]) * 4 / 3  # type: ignore[index]
    view = re.search(r'viewBox="[^"]+"', head)[0]  # type: ignore[index]
    rest = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', rest)
    rest = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', rest)
    rest = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", rest)
    rest = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", rest)
    for colour, variable in PAGE_COLOURS.items():
        rest = rest.replace(colour, variable)
    return (
        f'<svg role="img" aria-labelledby="{name}-title" {view} style="max-width: {width:.0f}px"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink"><title id="{name}-title">{escape(title)}</title>{rest.strip()}'
    )


def _draw_curves(data: pd.DataFrame, settings: Mapping[str, Any], colour_of: Mapping[str, Any]) -> Figure:
    """Lines with the range of the seeds; beside a bound, measured dots and the dotted bound."""
    panels = list(dict.fromkeys(data["panel"]))
    figure, axes = _grid(len(panels))
    series = sorted(set(data["series"]))
    has_bound = bool((data["role"] == "bound").any())
    single = data["x"].nunique() == 1
    for axis, panel in zip(axes, panels, strict=True):
        for (name, role), part in data[data["panel"] == panel].groupby(["series", "role"]):
            part = part.sort_values("x", kind="stable")
            x = np.full(len(part), series.index(name)) if single else part["x"].to_numpy()
            look = {"color": colour_of[name], "marker": MARKERS[series.index(name) % len(MARKERS)]}
            if role == "bound":
                axis.plot(
                    x,
                    part["y"],
                    color=look["color"],
                    **({"ls": "", "marker": "_", "ms": 14} if single else {"ls": ":"}),
                )
            elif has_bound or single:
                bars = np.abs(part[["low", "high"]].to_numpy().T - part["y"].to_numpy())
                axis.errorbar(x, part["y"], bars, ls="", ms=4, lw=0.8, **look)
            else:
                marked = {"ms": 3.5} if len(part) <= MAX_MARKED else {"marker": ""}
                axis.plot(x, part["y"], **{**look, **marked})
                axis.fill_between(x, part["low"], part["high"], color=look["color"], alpha=0.18, lw=0)
        if single:
            axis.set_xticks([])
        axis.set(
            title=panel,
            xscale="log" if settings["log_x"] else "linear",
            yscale="log" if settings["log_y"] else "linear",
        )
    _label(figure, axes, "" if single else settings["x_label"], settings["y_label"])
    _legend(figure, series, colour_of, has_bound)
    sns.despine(figure)
    return figure


def _draw_intervals(data: pd.DataFrame, settings: Mapping[str, Any], colour_of: Mapping[str, Any]) -> Figure:
    """A row for each interval, under the name of its cell; hollow where there is no interval."""
    rows: list[tuple[str, Any]] = []
    for panel in dict.fromkeys(data["panel"]):
        rows += [(panel, None)] if panel else []
        rows += [(row.series, row) for row in data[data["panel"] == panel].itertuples()]
    figure = Figure((WIDTHS[2], 0.8 + ROW_HEIGHT * len(rows)), layout="constrained")
    axis = figure.add_subplot()
    axis.axvline(0, color=INK, lw=0.9, ls=(0, (4, 3)))
    for position, (name, row) in enumerate(rows):
        if row is None:
            continue
        has_interval, colour = not math.isnan(row.low), colour_of.get(name, INK)
        if has_interval:
            axis.plot([row.low, row.high], [position, position], color=colour, lw=2.2, solid_capstyle="butt")
        axis.plot(
            row.y, position, color=colour, marker="o" if row.panel else "D", ms=6, mfc=colour if has_interval else PAPER
        )
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel=settings["x_label"], yticks=range(len(rows)))
    for label, (_, row) in zip(axis.set_yticklabels([name for name, _ in rows]), rows, strict=True):
        label.set_fontweight("bold" if row is None or not row.panel else "normal")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    sns.despine(figure, left=True)
    return figure


def _draw_heatmaps(data: pd.DataFrame, settings: Mapping[str, Any], colour_of: Mapping[str, Any]) -> Figure:
    """A panel of cells: x the column, series the row, y the colour."""
    panels = list(dict.fromkeys(data["panel"]))
    figure, axes = _grid(len(panels))
    limits = {"vmin": data["y"].min(), "vmax": data["y"].max()}
    for axis, panel in zip(axes, panels, strict=True):
        part = data[data["panel"] == panel]
        cells = part.pivot(index="series", columns="x", values="y").reindex(list(dict.fromkeys(part["series"])))
        sns.heatmap(
            cells,
            ax=axis,
            cmap="viridis",
            annot=cells.size <= 36,
            fmt=".3g",
            **limits,
            cbar_kws={"label": settings["y_label"]},
            rasterized=False,
        )
        axis.set(title=panel, ylabel="", xlabel=settings["x_label"])
    return figure


def _grid(num_panels: int) -> tuple[Figure, list[Axes]]:
    columns = min(num_panels, 3)
    rows = math.ceil(num_panels / columns)
    figure = Figure((WIDTHS[columns], 0.6 + PANEL_HEIGHT * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[num_panels:]:
        unused.remove()
    return figure, list(axes[:num_panels])


def _label(figure: Figure, axes: Sequence[Axes], x_label: str, y_label: str) -> None:
    figure.supxlabel(x_label, fontsize=9)
    figure.supylabel(y_label, fontsize=9)


def _legend(figure: Figure, series: Sequence[str], colour_of: Mapping[str, Any], has_bound: bool) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=colour_of[name],
            marker=MARKERS[number % len(MARKERS)],
            ms=4,
            lw=0 if has_bound else 1.6,
            label=name,
        )
        for number, name in enumerate(series)
    ]
    if has_bound:
        handles.append(Line2D([], [], color=INK, ls=":", label="bound"))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
