"""What a claim about compression shows: quality against size, and reconstructions as pictures beside the originals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.shared.figures import COLUMNS
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure

if TYPE_CHECKING:
    import pandas as pd

NAMES = {"psnr": "PSNR", "psnr_hvs": "PSNR-HVS", "psnr_hvs_m": "PSNR-HVS-M", "ssim": "SSIM"}
GAP = 1  # columns between pictures


def size_figure(rows: pd.DataFrame, size: str, quantity: str, twins: Mapping[str, str], unit: str) -> Figure | None:
    """A quantity against a size that was measured with it: models, twins, and principal components where measured.

    Args:
        rows: measurements.
        size: the quantity on the abscissa, one value per run.
        quantity: the one on the ordinate; `pca_<quantity>` is drawn too.
        twins: the twin of each model.
        unit: of the quantity.
    """
    import pandas as pd

    keys = ["dataset", "model", "method", "seed"]
    sizes = rows[rows["quantity"] == size].groupby(keys)["value"].last().rename("x")
    families = {
        **{twin: _family(list(twins.values())) for twin in twins.values()},
        **dict.fromkeys(twins, _family(list(twins))),
    }
    parts = []
    for name in (quantity, f"pca_{quantity}"):
        part = rows[rows["quantity"] == name].groupby(keys)["value"].last().rename("y").to_frame().join(sizes)
        part = part.reset_index()
        part["series"] = part["model"].map(families) if name == quantity else "principal components"
        parts.append(part)
    points = pd.concat(parts, ignore_index=True).dropna(subset=["x", "y"])
    points = points[points.groupby("dataset")["x"].transform("nunique") > 1]  # one size is no curve
    if not len(points):
        return None
    data = points.groupby(["dataset", "series", "x"])["y"].agg(["mean", "min", "max"]).reset_index()
    data = data.rename(columns={"dataset": "panel", "mean": "y", "min": "low", "max": "high"}).assign(role="measured")
    label = NAMES.get(quantity, quantity.replace("_", " ")) + (f" ({unit})" if unit else "")
    caption = f"{label} against {size.replace('_', ' ')}: mean over seeds; the band is their range."
    return Figure(data[list(COLUMNS)], "line", size.replace("_", " "), label, caption)


def measures_figure(
    rows: pd.DataFrame, size: str, measures: Mapping[str, str], twins: Mapping[str, Sequence[str]]
) -> Figure | None:
    """Several measures against a size, a panel each, of models, the networks beside them and principal components.

    Args:
        rows: measurements.
        size: the quantity on the abscissa, one value per run.
        measures: the quantities with their labels.
        twins: the networks beside each model.
    """
    import pandas as pd

    parts = []
    for measure, label in measures.items():
        for place in range(max(map(len, twins.values()))):
            beside = {model: names[place] for model, names in twins.items() if place < len(names)}
            figure = size_figure(rows, size, measure, beside, "")
            if figure is not None:
                panels = [f"{dataset} · {label}" for dataset in figure.data["panel"]]
                parts.append(figure.data.assign(panel=panels))
    if not parts:
        return None
    data = pd.concat(parts).drop_duplicates(ignore_index=True)
    caption = f"Means over the test images against {size.replace('_', ' ')}: mean over seeds; the band is their range."
    return Figure(data, "line", size.replace("_", " "), "mean over the test images", caption)


def picture_figures(rows: pd.DataFrame, models: Sequence[str], twins: Mapping[str, str]) -> list[Figure]:
    """For each dataset some pictures: originals and, below each, what a model, its twin and principal components make.

    Args:
        rows: measurements with `picture`, `reconstruction` and `pca_reconstruction`.
        models: the last of them that has pictures, and a twin with pictures, is shown, of its first seed.
        twins: the twin of each model.
    """
    found = rows[rows["quantity"].isin(["picture", "reconstruction", "pca_reconstruction"])]
    figures = []
    for dataset, part in found.groupby("dataset"):
        there = set(part["model"])
        shown = [model for model in models if {model, twins[model]} - {"self"} <= there]
        if shown:
            figures.append(_picture_figure(str(dataset), part, shown[-1], twins[shown[-1]]))
    return figures


def _picture_figure(dataset: str, rows: pd.DataFrame, model: str, twin: str) -> Figure:
    import pandas as pd

    wanted = [("original", model, "picture"), (model, model, "reconstruction")]
    wanted += [] if twin == "self" else [(twin, twin, "reconstruction")]
    wanted.append(("principal components", model, "pca_reconstruction"))
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


def _family(names: Sequence[str]) -> str:
    """What the names of a sweep have in common at their start: dag_code2, dag_code4 -> dag."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    common = first[:length]
    return common.rpartition("_")[0] if "_" in common and len(set(names)) > 1 else common
