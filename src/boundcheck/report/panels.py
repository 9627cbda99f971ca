"""The layout of figures: the positions of their panels, the labels around them, and the legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, PAPER = "#1f2a37", "#fdfefe"
MARKERS = "osD^vP*X"
DASHES = {"bound": ":", "upper bound": ":", "lower bound": "-.", "formula": ":"}
# Inches. Sizes are fixed, because an automatic layout would draw every figure three times.
PANEL_WIDTHS = {1: 3.6, 2: 2.8, 3: 2.05}  # by the number of columns
PANEL_HEIGHT = 1.6
ROW_WIDTH, ROW_HEIGHT = 5.5, 0.24
LEFT, RIGHT, TOP, BOTTOM, GAP_X, GAP_Y = 0.75, 0.15, 0.3, 0.5, 0.6, 0.55
LEGEND_INDENT, LEGEND_LINE, CHARACTER = 0.55, 0.19, 0.075


class Look(NamedTuple):
    """The colour and marker of a series."""

    colour: str
    marker: str


def grid(num_panels: int, entries: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with `num_panels` panels, and space for labels and for a legend of `entries` on the right."""
    columns = min(num_panels, max(PANEL_WIDTHS))
    rows = math.ceil(num_panels / columns)
    panel = PANEL_WIDTHS[columns]
    right = LEGEND_INDENT + CHARACTER * max(map(len, entries), default=0)
    width = LEFT + columns * (panel + GAP_X) - GAP_X + RIGHT + right
    height = TOP + rows * (PANEL_HEIGHT + GAP_Y) - GAP_Y + BOTTOM
    figure = Figure((width, max(height, LEGEND_LINE * (len(entries) + 2))))
    axes = []
    for index in range(num_panels):
        row, column = divmod(index, columns)
        x = LEFT + column * (panel + GAP_X)
        y = figure.get_figheight() - TOP - PANEL_HEIGHT - row * (PANEL_HEIGHT + GAP_Y)
        axes.append(axes_at(figure, x, y, panel, PANEL_HEIGHT))
    return figure, axes


def rows_figure(names: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with one panel that has a row for each name."""
    margin, height = 0.2 + CHARACTER * max(map(len, names)), ROW_HEIGHT * len(names)
    figure = Figure((margin + ROW_WIDTH + RIGHT, 0.05 + height + BOTTOM))
    axis = axes_at(figure, margin, BOTTOM, ROW_WIDTH, height)
    axis.set(ylim=(len(names) - 0.4, -0.6), yticks=range(len(names)), yticklabels=names)
    return figure, axis


def strips(names: Sequence[str], height: int, width: int) -> tuple[Figure, list[Axes]]:
    """A figure with a strip of `height` x `width` square pixels for each name; the name is on its left."""
    margin, tall = 0.2 + CHARACTER * max(map(len, names)), ROW_WIDTH * height / width
    figure = Figure((margin + ROW_WIDTH + RIGHT, 0.1 + len(names) * (tall + 0.1)))
    axes = []
    for index, name in enumerate(names):
        y = figure.get_figheight() - (index + 1) * (tall + 0.1)
        axes.append(axes_at(figure, margin, y, ROW_WIDTH, tall))
        axes[-1].set_axis_off()
        x, middle = (margin - 0.1) / figure.get_figwidth(), (y + tall / 2) / figure.get_figheight()
        figure.text(x, middle, name, ha="right", va="center", fontsize=9)
    return figure, axes


def fitted_grid(num_panels: int) -> tuple[Figure, list[Axes]]:
    """A figure whose panels are sized to leave space for their own labels."""
    columns = min(num_panels, max(PANEL_WIDTHS))
    rows = math.ceil(num_panels / columns)
    size = (1 + columns * (PANEL_WIDTHS[columns] + GAP_X), rows * (PANEL_HEIGHT + TOP + GAP_Y))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[num_panels:]:
        unused.remove()
    return figure, list(axes[:num_panels])


def axes_at(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Add axes at a position given in inches from the lower left corner."""
    across, up = figure.get_size_inches()
    axis = figure.add_axes((x / across, y / up, width / across, height / up))
    axis.xaxis.set_label_coords(0.5, -0.3 / height)
    axis.yaxis.set_label_coords(-0.5 / width, 0.5)
    return axis


def label_axes(figure: Figure, x_label: str, y_label: str) -> None:
    """Add one x label and one y label for all panels together."""
    boxes = [axis.get_position() for axis in figure.axes]
    across, up = figure.get_size_inches()
    middle_x = (min(box.x0 for box in boxes) + max(box.x1 for box in boxes)) / 2
    middle_y = (min(box.y0 for box in boxes) + max(box.y1 for box in boxes)) / 2
    below = min(box.y0 for box in boxes) - 0.3 / up
    figure.text(middle_x, below, x_label, ha="center", va="top", fontsize=9)
    figure.text(0.08 / across, middle_y, y_label, ha="left", va="center", rotation=90, fontsize=9)


def bound_shape(dashes: str, is_single: bool) -> dict[str, Any]:
    """The line style of a bound; with a single x, a dash."""
    return {"ls": "", "marker": "_", "ms": 14} if is_single else {"ls": dashes}


def legend(
    figure: Figure, look_of: Mapping[str, Look], bounds: Sequence[str], is_single: bool, is_dotted: bool
) -> None:
    """Add a legend with all series, followed by all kinds of bounds."""
    width = 0 if is_dotted else 1.6
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ms=4, lw=width, label=name)
        for name, look in look_of.items()
    ]
    for role in bounds:
        handles.append(Line2D([], [], color=INK, label=role, **bound_shape(DASHES[role], is_single)))
    figure.legend(handles=handles, loc="upper right", borderaxespad=0.2)
