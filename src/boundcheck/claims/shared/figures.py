"""What a claim shows: intervals of a comparison, curves of a quantity, and a bound beside what was measured.

Tidy frames with the columns x, y, low, high, series, role, panel; `role` is measured or bound (upper bound and lower
bound where there are both). In an interval figure y is the effect, `panel` the cell and `series` the method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import RUN
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure

COLUMNS = ("panel", "series", "role", "x", "y", "low", "high")
MAX_POINTS = 200
SMALLEST_DRAWN = 1e-6  # of a density, relative to its peak
NAMES = {"psnr": "PSNR", "psnr_hvs": "PSNR-HVS", "psnr_hvs_m": "PSNR-HVS-M", "ssim": "SSIM"}
LOG_RANGE = 30  # a positive quantity that spans more than this factor is drawn on a logarithmic axis


def interval_figure(evidence: Sequence[Mapping[str, Any]], label: str, caption: str) -> Figure:
    """One interval per evidence row that has an effect; rows without dataset stand on their own (the pooled one)."""
    rows = [
        {
            "panel": f"{row['dataset']} · {row['model']}" if "dataset" in row else "",
            "series": row["method"],
            "role": "measured",
            "x": NAN,
            "y": row["effect"],
            "low": row["low"],
            "high": row["high"],
        }
        for row in evidence
        if np.isfinite(row["effect"])
    ]
    return Figure(pd.DataFrame(rows, columns=list(COLUMNS)), "interval", label, "", caption)


def curve_figure(rows: pd.DataFrame, runs: pd.DataFrame, name: str) -> Figure | None:
    """The mean over seeds of a quantity by epoch, with the range of the seeds; None where nothing has a course.

    A curve of more than 200 points is averaged in equal stretches of the run first.
    """
    done = runs.loc[runs["status"] == "done", list(RUN)]
    rows = rows[np.isfinite(rows["value"])].merge(done, on=list(RUN))
    if rows["epoch"].nunique() < 3:
        return None
    width = np.ptp(rows["epoch"].to_numpy()) / MAX_POINTS
    if rows["epoch"].nunique() > MAX_POINTS:
        rows = rows.assign(epoch=((rows["epoch"] / width).astype(int) + 0.5) * width)
        rows = rows.groupby([*RUN, "epoch"])["value"].mean().reset_index()
    data = averaged(rows, x="epoch")
    caption = f"{as_sentence(name)} during training: mean over seeds; the band is their range."
    return Figure(data, "line", "epoch", name, caption, log_y=is_logarithmic(data["y"]))


def coordinate_figure(rows: pd.DataFrame, runs: pd.DataFrame, name: str, coordinate: str) -> Figure | None:
    """A quantity over its `coordinate` (radius ρ, eigenvalue λ) at each run's last snapshot; None without a coordinate.

    Where the seeds have equal coordinates it is their mean with their range, else the curve of the first seed.
    """
    done = runs.loc[runs["status"] == "done", list(RUN)]
    rows = rows[np.isfinite(rows["value"]) & np.isfinite(rows["coordinate"])].merge(done, on=list(RUN))
    rows = rows[rows["epoch"] == rows.groupby(list(RUN))["epoch"].transform("max")]
    if rows["coordinate"].nunique() < 2:
        return None
    cells = rows.groupby(["dataset", "model", "method"])
    shared = (cells["coordinate"].nunique() * cells["seed"].nunique() == cells.size()).all()
    what = "mean over seeds; the band is their range"
    if not shared:
        rows, what = rows[rows["seed"] == rows["seed"].min()], f"seed {rows['seed'].min()}"
    data = averaged(rows, x="coordinate")
    caption = f"{as_sentence(name)} at the last snapshot: {what}."
    floor = data["y"].max() * SMALLEST_DRAWN
    if (data["y"] >= 0).all() and (data["y"] < floor).any():  # a density, whose zeros no logarithmic axis can hold
        data = data[data["y"] >= floor]
    log_x, log_y = is_logarithmic(data["x"]), is_logarithmic(data["y"])
    return Figure(data, "line", coordinate, name, caption, log_x, log_y)


def bound_figures(rows: pd.DataFrame, quantity: str, coordinate: str) -> list[Figure]:
    """The bounds of a check (dotted) and what was measured (dots), in one axes per (dataset, model).

    Against the epoch, at the largest coordinate; and against the coordinate, at each run's last snapshot, where there
    are several. Bounds on one and the same measured quantity share the axes; rows whose premise fails are left out.

    Args:
        rows: the rows of one check.
        quantity: label of the ordinate, with its unit.
        coordinate: label of the coordinate, with its unit; of a theorem that names κ it is in units of ‖θ‖.
    """
    figures = []
    for part in _sharing_what_was_measured(rows[rows["premise_holds"]]):
        label = f"{coordinate} / ‖θ‖" if part["theorem"].str.contains("κ").all() else coordinate
        largest, last = part["coordinate"].max(), part.groupby(list(RUN))["epoch"].transform("max")
        at_largest = part if np.isnan(largest) else part[part["coordinate"] == largest]
        where = "" if np.isnan(largest) else f", {label} {largest:g}"
        several = part["coordinate"].nunique() > 1
        if at_largest["epoch"].nunique() > 1 or not several:
            figures.append(_bound_figure(at_largest, "epoch", "epoch", quantity, where))
        if several:
            figures.append(_bound_figure(part[part["epoch"] == last], "coordinate", label, quantity, ", last snapshot"))
    return figures


def panels(rows: pd.DataFrame) -> pd.Series:
    """The panel of each row: its dataset and model."""
    return rows["dataset"] + " · " + rows["model"]


def averaged(rows: pd.DataFrame, value: str = "value", role: str = "measured", x: str = "x") -> pd.DataFrame:
    """Mean, least and greatest of a column at each panel, series and x: the data of a figure.

    Rows that name no panel are in that of their dataset and model; without a series, the method is theirs.
    """
    names = {"panel": panels, "series": lambda rows: rows["method"]}
    rows = rows.assign(x=rows[x], **{name: of_rows for name, of_rows in names.items() if name not in rows})
    groups = rows.groupby(["panel", "series", "x"])[value]
    return groups.agg(y="mean", low="min", high="max").reset_index().assign(role=role)[list(COLUMNS)]


def in_words(quantity: str) -> str:
    """A quantity as axes have it: `mean_predictor_hessian_norm` is the mean predictor Hessian norm."""
    return NAMES.get(quantity, quantity.replace("_", " ").replace("hessian", "Hessian"))


def as_sentence(text: str) -> str:
    """A text with a capital at its start, where that is a plain letter."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def is_logarithmic(values: pd.Series) -> bool:
    """Whether positive values span so much that a linear axis would hide most of them."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() > LOG_RANGE * finite.min())


def _sharing_what_was_measured(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each theorem, theorems on the same measured numbers together."""
    groups: dict[bytes, list[pd.DataFrame]] = {}
    for _, part in rows.groupby("theorem"):
        ordered = part.sort_values([*RUN, "step", "coordinate"])
        groups.setdefault(ordered["measured"].to_numpy(np.float64).tobytes(), []).append(ordered)
    return [pd.concat(parts, ignore_index=True) for parts in groups.values()]


def _bound_figure(rows: pd.DataFrame, x: str, x_label: str, y_label: str, where: str) -> Figure:
    theorems = [part for _, part in rows.groupby("theorem")]
    parts = [averaged(theorems[0], "measured", x=x)]
    for part in theorems:
        role = "bound" if len(theorems) == 1 else f"{part['sense'].iloc[0]} bound"
        parts.append(averaged(part, "bound", role, x))
    data = pd.concat(parts, ignore_index=True)
    is_line = data["x"].nunique() > 1
    looks = {"upper": "upper dotted", "lower": "lower dash-dotted"}
    there = ", ".join(look for sense, look in looks.items() if (rows["sense"] == sense).any())
    drawn = "bound (dotted)" if len(theorems) == 1 else f"bounds ({there})"
    drawn = drawn if is_line else "bound (dashes)"
    text = " and ".join(str(part["theorem"].iloc[0]) for part in theorems)
    return Figure(
        data,
        "line" if is_line else "points",
        x_label,
        y_label,
        f"{text}{where}: measured (dots) and {drawn}, means over seeds; bars are their range.",
        log_x=x == "coordinate" and is_logarithmic(data["x"]),
        log_y=is_logarithmic(data["y"]),
    )
