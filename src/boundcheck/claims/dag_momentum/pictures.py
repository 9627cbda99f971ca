"""What a claim about compression shows: quality against size, and reconstructions as pictures beside the originals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.shared.figures import COLUMNS, in_words
from boundcheck.claims.shared.rows import RUN
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure

if TYPE_CHECKING:
    import pandas as pd

GAP = 1  # columns between pictures
COMPONENTS = "principal components"


def size_figure(
    rows: pd.DataFrame, size: str, quantity: str, families: Mapping[str, str], unit: str = ""
) -> Figure | None:
    """A quantity against a size that was measured with it, a line for each family of models and principal components.

    Args:
        rows: measurements.
        size: the quantity on the abscissa, one value per run.
        quantity: the one on the ordinate; `pca_<quantity>` is drawn too.
        families: of each model.
        unit: of the quantity.
    """
    import pandas as pd

    keys = list(RUN)
    sizes = rows[rows["quantity"] == size].groupby(keys)["value"].last().rename("x")
    parts = []
    for name in (quantity, f"pca_{quantity}"):
        part = rows[rows["quantity"] == name].groupby(keys)["value"].last().rename("y").to_frame().join(sizes)
        part = part.reset_index()
        part["series"] = part["model"].map(dict(families)) if name == quantity else COMPONENTS
        parts.append(part)
    points = pd.concat(parts, ignore_index=True).dropna(subset=["x", "y"])
    points = points[points.groupby("dataset")["x"].transform("nunique") > 1]  # one size is no curve
    if not len(points):
        return None
    data = points.groupby(["dataset", "series", "x"])["y"].agg(["mean", "min", "max"]).reset_index()
    data = data.rename(columns={"dataset": "panel", "mean": "y", "min": "low", "max": "high"}).assign(role="measured")
    label = in_words(quantity) + (f" ({unit})" if unit else "")
    caption = f"{label} against {in_words(size)}: mean over seeds; the band is their range."
    return Figure(data[list(COLUMNS)], "line", in_words(size), label, caption)


def measures_figure(
    rows: pd.DataFrame, size: str, measures: Mapping[str, str], families: Mapping[str, str]
) -> Figure | None:
    """Several measures against a size, a panel each, as `size_figure` draws them.

    Args:
        rows: measurements.
        size: the quantity on the abscissa, one value per run.
        measures: the quantities with their labels.
        families: of each model.
    """
    import pandas as pd

    parts = []
    for measure, label in measures.items():
        figure = size_figure(rows, size, measure, families)
        if figure is not None:
            parts.append(figure.data.assign(panel=[f"{dataset} · {label}" for dataset in figure.data["panel"]]))
    if not parts:
        return None
    caption = f"Means over the test images against {in_words(size)}: mean over seeds; the band is their range."
    data = pd.concat(parts, ignore_index=True)
    return Figure(data, "line", in_words(size), "mean over the test images", caption)


def families_of(*groups: Iterable[str]) -> dict[str, str]:
    """What each model of a group belongs to: what the names of the group have in common at their start.

    The names of a sweep, dag_code2 and dag_code4, have `dag` in common.
    """
    families = {}
    for group in map(set, groups):
        families.update(dict.fromkeys(group, _common_start(group)) if group else {})
    return families


def picture_figures(rows: pd.DataFrame, twins: Mapping[str, str]) -> list[Figure]:
    """For each dataset some pictures: originals and, below each, what a model, its twin and principal components make.

    Args:
        rows: measurements with `picture`, `reconstruction` and `pca_reconstruction`.
        twins: the twin of each model; the last pair that has pictures is shown, of its first seed.
    """
    found = rows[rows["quantity"].isin(["picture", "reconstruction", "pca_reconstruction"])]
    figures = []
    for dataset, part in found.groupby("dataset"):
        there = set(part["model"])
        shown = [model for model, twin in twins.items() if {model, twin} <= there]
        if shown:
            figures.append(_picture_figure(str(dataset), part, shown[-1], twins[shown[-1]]))
    return figures


def _picture_figure(dataset: str, rows: pd.DataFrame, model: str, twin: str) -> Figure:
    import pandas as pd

    wanted = [("original", model, "picture"), (model, model, "reconstruction"), (twin, twin, "reconstruction")]
    wanted.append((COMPONENTS, model, "pca_reconstruction"))
    parts = []
    for panel, owner, name in wanted:
        part = rows[(rows["model"] == owner) & (rows["quantity"] == name)]
        part = part[(part["method"] == part["method"].iloc[0]) & (part["seed"] == part["seed"].min())]
        parts.append(_strip(part[part["step"] == part["step"].max()]).assign(panel=panel))
    data = pd.concat(parts, ignore_index=True).assign(role="measured", low=NAN, high=NAN)
    caption = f"Test images of {dataset} and their reconstructions (first seed)."
    return Figure(data[list(COLUMNS)], "picture", "", "", caption)


def _strip(rows: pd.DataFrame) -> pd.DataFrame:
    """Square images of pixels (index) by number (coordinate), side by side: x the column, series the row."""
    side = round((int(rows["index"].max()) + 1) ** 0.5)
    pixels = rows["index"].to_numpy(np.int64)
    across = rows["coordinate"].to_numpy(np.int64) * (side + GAP) + pixels % side
    return rows.assign(x=across.astype(np.float64), y=rows["value"], series=(pixels // side).astype(str))


def _common_start(names: set[str]) -> str:
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    common = first[:length]
    return common.rpartition("_")[0] if "_" in common and len(names) > 1 else common
