"""The claim that a network compresses better than another: drawn against the size of the code, and in pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.compared import Compared
from boundcheck.claims.shared.comparison import HigherValue
from boundcheck.claims.shared.figures import COLUMNS, as_sentence, averaged, in_words
from boundcheck.claims.shared.rows import RUN
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.verdicts import Figure

GAP = 1  # columns between pictures
COMPONENTS = "principal components"


@settings(kw_only=True)
class CompressesBetter(HigherValue):
    """`higher_value` of a measure of reconstruction, drawn against a size, with reconstructions beside the originals.

    Args:
        size: a measured quantity (`code_size`) against which the measure is drawn.
    """

    size: str

    def figures(self, compared: Compared, evidence: Sequence[Mapping[str, Any]]) -> list[Figure]:
        """As of any comparison, the measure against the size, and pictures."""
        rows = compared.tables.measurements
        sizes = rows[rows["quantity"] == self.size].groupby("model")["value"].max()
        pairs = sorted(compared.pairs, key=lambda pair: sizes.get(pair.cell[1], 0.0))
        twins = {pair.cell[1]: pair.baseline[1] for pair in pairs if pair.baseline and pair.baseline != pair.cell}
        families = families_of({pair.cell[1] for pair in pairs}, twins.values())
        label = in_words(self.quantity) + (f" ({self.effect_unit})" if self.effect_unit else "")
        drawn = size_figure(rows, self.size, {self.quantity: label}, families)
        return [*super().figures(compared, evidence), *([drawn] if drawn else []), *picture_figures(rows, twins)]


def size_figure(
    rows: pd.DataFrame, size: str, measures: Mapping[str, str], families: Mapping[str, str]
) -> Figure | None:
    """Quantities against a size that was measured with them, a line for each family and for principal components.

    Args:
        rows: measurements.
        size: the quantity on the abscissa, one value per run.
        measures: the quantities on the ordinate with their labels, a panel each; `pca_<quantity>` is drawn too.
        families: of each model.
    """
    parts = [_against_size(rows, size, quantity, families).assign(label=label) for quantity, label in measures.items()]
    data, label = pd.concat(parts, ignore_index=True), next(iter(measures.values()))
    if not len(data):
        return None
    if len(measures) > 1:
        data["panel"], label = data["panel"] + " · " + data["label"], "mean over the test images"
    caption = f"{as_sentence(label)} against {in_words(size)}: mean over seeds; the band is their range."
    return Figure(data[list(COLUMNS)], "line", in_words(size), label, caption)


def families_of(*groups: Iterable[str]) -> dict[str, str]:
    """What each model of a group belongs to: what the names of the group have in common at their start.

    The names of a sweep, dag_code2 and dag_code4, have `dag` in common.
    """
    families: dict[str, str] = {}
    for group in filter(None, map(set, groups)):
        letters = zip(min(group), max(group), strict=False)
        common = "".join(letter for letter, _ in takewhile(lambda both: both[0] == both[1], letters))
        is_sweep = "_" in common and len(group) > 1
        families |= dict.fromkeys(group, common.rpartition("_")[0] if is_sweep else common)
    return families


def picture_figures(rows: pd.DataFrame, twins: Mapping[str, str]) -> list[Figure]:
    """For each dataset some pictures: originals and, below each, what a model, its twin and principal components make.

    Of the models and their twins the last pair that has pictures is shown, of its first seed.
    """
    pictures = rows[rows["quantity"].isin(["picture", "reconstruction", "pca_reconstruction"])]
    figures = []
    for dataset, part in pictures.groupby("dataset"):
        there = set(part["model"])
        shown = [model for model, twin in twins.items() if {model, twin} <= there]
        if shown:
            figures.append(_picture_figure(str(dataset), part, shown[-1], twins[shown[-1]]))
    return figures


def _picture_figure(dataset: str, rows: pd.DataFrame, model: str, twin: str) -> Figure:
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


def _against_size(rows: pd.DataFrame, size: str, quantity: str, families: Mapping[str, str]) -> pd.DataFrame:
    """The mean over seeds of a quantity, and of that of principal components, at each size."""
    last = rows.groupby([*RUN, "quantity"])["value"].last().unstack("quantity").reset_index()
    last = last.reindex(columns=[*RUN, size, quantity, f"pca_{quantity}"]).rename(
        columns={"dataset": "panel", size: "x"}
    )
    own = last.assign(series=last["model"].map(dict(families)), y=last[quantity])
    components = last.assign(series=COMPONENTS, y=last[f"pca_{quantity}"])
    points = pd.concat([own, components], ignore_index=True).dropna(subset=["x", "y"])
    points = points[points.groupby("panel")["x"].transform("nunique") > 1]  # one size is no curve
    return averaged(points, "y")
