"""The claim that bounds hold, drawn against what they depend on: the epoch, and settings that were swept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.figures import as_sentence, is_logarithmic
from boundcheck.claims.shared.outside_theory import reasons_without_bound, with_reasons
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.sweeps import sweep_rows
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["panel", "series", "role", "x", "y", "low", "high"]
MAX_PANELS = 12
MEASURED = "measured"
LABELS = {  # of settings whose name says less
    "train_size": "training examples n",
    "width": "width m",
    "depth": "depth L",
    "half_width": "half-width c of the initial weights",
}


@dataclass(frozen=True)
class BoundSweep(TheoremHolds):
    """`theorem_holds` with all bounds of a check on one quantity in one axes, a figure for each abscissa.

    Cells that get no bound at all because of their architecture are named with the reason, as "not applicable".

    Args:
        against: "epoch", the check's "coordinate", or settings of models (`width`) or datasets (`dataset.train_size`)
            that were swept; of a sweep the first and the last snapshot are shown.
        shown: models, or datasets/models, patterns allowed, in figures against the epoch.
        at_methods: methods, patterns allowed, in figures.
        over: what a dot of a figure is the mean over.
    """

    against: Sequence[str] = ("epoch",)
    shown: Sequence[str] = ("*",)
    at_methods: Sequence[str] = ("*",)
    over: str = "examples and seeds"

    def decide(self, tables: Tables) -> Verdict:
        """As `theorem_holds`, with figures of its own."""
        verdict = super().decide(tables)
        held = tables.checks[(tables.checks["check"] == self.check) & tables.checks["premise_holds"].astype(bool)]
        rows = held[[matches(method, self.at_methods) for method in held["method"]]]
        figures = [self._figure(rows, tables.runs, x) for x in self.against] if len(rows) else []
        cells, why_not = with_reasons(verdict.cells, self.not_applicable(tables))
        reason = "; ".join(filter(None, (verdict.reason, _medians(held), why_not)))
        shown = [figure for figure in figures if figure is not None]
        return replace(verdict, reason=reason, cells=cells, figures=shown)

    def not_applicable(self, tables: Tables) -> Mapping[tuple[str, ...], str]:
        """Why cells without any bound are outside the theory, by dataset, model and method."""
        return reasons_without_bound(tables, self.check)

    def is_shown(self, rows: pd.DataFrame) -> np.ndarray:
        """Which rows (n,) are of a cell that stands in figures against the epoch."""
        cells = zip(rows["dataset"], rows["model"], rows["method"], strict=True)
        shown = [
            (matches(model, self.shown) or matches(f"{dataset}/{model}", self.shown))
            and matches(method, self.at_methods)
            for dataset, model, method in cells
        ]
        return np.array(shown, dtype=bool)

    def _figure(self, rows: pd.DataFrame, runs: pd.DataFrame, x: str) -> Figure | None:
        if x in ("epoch", "coordinate"):
            rows = rows[self.is_shown(rows)]
            rows = rows.assign(x=rows[x], panel=short_names(rows))
            label = self.coordinate if x == "coordinate" else "epoch"
        else:
            rows, label = sweep_rows(rows, runs, x), setting_label(x)
            if not len(rows):
                return None
            ends = [rows.groupby(list(RUN))["step"].transform(end) for end in ("min", "max")]
            first, last = (rows["step"] == end for end in ends)
            rows = rows.assign(panel=rows["group"] + first.map({True: ": start", False: ": trained"}))[first | last]
        panels = list(dict.fromkeys(sorted(rows["panel"])))[:MAX_PANELS]
        data = _series(rows[rows["panel"].isin(panels)])
        if not len(data):
            return None
        return Figure(
            data,
            "line" if data["x"].nunique() > 1 else "points",
            label,
            self.quantity,
            f"{as_sentence(self.quantity)} (dots: means over {self.over}; bars: their range) and its bounds "
            f"(dotted, means) against {label}.",
            log_x=x != "epoch" and bool((data["x"] > 0).all()),
            log_y=is_logarithmic(data["y"]),
        )


def short_names(rows: pd.DataFrame) -> pd.Series:
    """The model of each row, with the dataset where the model met several, and the method where both met several."""
    name = rows["model"]
    for key in ("dataset", "method"):
        several = rows.groupby(name)[key].transform("nunique") > 1
        name = name.where(~several, name + " · " + rows[key])
    return name


def setting_label(setting: str) -> str:
    """A setting (`width`, `dataset.train_size`) as an axis has it."""
    name = setting.rpartition(".")[2]
    return LABELS.get(name, name.replace("_", " "))


def _series(rows: pd.DataFrame) -> pd.DataFrame:
    """What was measured once, and each theorem's bound."""
    import pandas as pd

    def means(part: pd.DataFrame, column: str, **names: Any) -> pd.DataFrame:
        table = part.groupby(["panel", "x"])[column].agg(["mean", "min", "max"]).reset_index()
        return table.rename(columns={"mean": "y", "min": "low", "max": "high"}).assign(**names)

    parts = [means(rows, "measured", series=MEASURED, role="measured")]
    for theorem, part in rows.groupby("theorem"):
        parts.append(means(part, "bound", series=_right_side(str(theorem)), role="bound"))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _medians(held: pd.DataFrame) -> str:
    """The median tightness of each of several inequalities, in words."""
    medians = held[held["sense"] != "equal"].groupby("theorem")["tightness"].median().dropna().sort_values()
    if len(medians) < 2:
        return ""
    texts = (f"{_right_side(str(theorem))} {value:.3g}" for theorem, value in medians.items())
    return "medians: " + ", ".join(texts).replace("inf", "∞")


def _right_side(theorem: str) -> str:
    """What an inequality states as the bound: B2 of "‖∇²f‖ ≤ B2"."""
    return theorem.replace("≥", "≤").rpartition("≤")[2].strip()


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of some patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
