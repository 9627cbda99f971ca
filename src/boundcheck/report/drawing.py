"""Draws the figures of claims as SVG. Equal data give equal bytes.

Text is kept as text, so that a page can use its own font. Ink, rules and paper have fixed colours, which `inline`
replaces by those of the page. So one drawing can be used as a file, on a light page and on a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.backends.backend_svg import FigureCanvasSVG

from boundcheck.report.axis_marks import curves, heatmaps, intervals, pictures
from boundcheck.report.panels import INK, MARKERS, PAPER, Look

RULE = "#d5dbe3"
PAGE_COLOURS = {INK: "var(--ink)", RULE: "var(--rule)", PAPER: "none"}
PALETTE = ("#1f7fbf", "#de8f05", "#029e73", "#d55e00", "#b86aa8", "#a9744f", "#7f8a96", "#3f9bd8")  # on white and black
NO_METADATA: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
PIXELS_PER_POINT = 4 / 3
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
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 8,
}


def looks(series: Iterable[str]) -> dict[str, Look]:
    """A colour and a marker for each series, by its position in the sorted list of names."""
    names = sorted(set(series))
    palette = PALETTE if len(names) <= len(PALETTE) else _many_colours(len(names))
    return {name: Look(palette[i], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def _many_colours(num: int) -> list[str]:
    """`num` hues around the colour circle, alternately dark and light."""
    shades = [sns.husl_palette(num, l=lightness).as_hex() for lightness in (0.4, 0.65)]
    return [shades[i % 2][i] for i in range(num)]


def draw(data: pd.DataFrame, settings: Mapping[str, Any], look_of: Mapping[str, Look]) -> str:
    """A figure as the text of an SVG file, without a date.

    Args:
        data: the columns of `verdicts.Figure`; y is finite.
        settings: mark, x_label, y_label, log_x, log_y.
        look_of: the look of each series.
    """
    draw_mark = {"interval": intervals, "heatmap": heatmaps, "picture": pictures}.get(settings["mark"], curves)
    style: Any = {**sns.axes_style("ticks"), **STYLE}
    with mpl.rc_context(style), np.errstate(all="ignore"):
        figure = draw_mark(data, settings, look_of)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata=NO_METADATA)  # `savefig` would draw a second time
    return re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)


def inline(svg: str, name: str, title: str) -> str:
    """A drawing as part of a page, with the page's colours.

    Args:
        svg: what `draw` returned.
        name: begins all ids of the drawing, so that they are unique on the page.
        title: describes the drawing to screen readers.
    """
    body = svg[svg.index("<svg") :]
    head, rest = body[: body.index(">") + 1], body[body.index(">") + 1 :]
    width = PIXELS_PER_POINT * float(re.search(r'width="([\d.]+)pt"', head)[1])  # type: ignore[index]
    view = re.search(r'viewBox="[^"]+"', head)[0]  # type: ignore[index]
    rest = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', rest)
    rest = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', rest)
    rest = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", rest)
    rest = re.sub(r"font-family: [^;\"]+; ?", "", rest)
    rest = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", rest, count=1, flags=re.DOTALL)
    for colour, variable in PAGE_COLOURS.items():
        rest = rest.replace(colour, variable)
    return (
        f'<svg role="img" aria-labelledby="{name}-title" {view} style="max-width: {width:.0f}px"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink"><title id="{name}-title">{escape(title)}</title>{rest.strip()}'
    )
