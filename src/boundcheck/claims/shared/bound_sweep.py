"""The claim that bounds hold, drawn against what they depend on: the epoch, and settings that were swept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

import pandas as pd

from boundcheck.claims.shared.figures import as_sentence, averaged, is_logarithmic
from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, CellKey, Selector, SelectsCells, cells_of, rows_of
from boundcheck.claims.shared.sweeps import setting_label, sweep_rows
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.optional_members import OutsideTheory
from boundcheck.settings import settings
from boundcheck.verdicts import Figure, Reason, Tables, because

MAX_PANELS = 12
Shown = Mapping[Literal["datasets", "models", "methods"], Selector]  # of the cells in a figure


@settings(kw_only=True)
class BoundSweep(TheoremHolds):
    """`theorem_holds` with all bounds of a check on one quantity in one axes, a figure for each abscissa.

    Cells that get no bound at all because of their architecture are named with the reason, as "not applicable".

    Args:
        against: "epoch", the check's "coordinate", or settings of models (`width`) or datasets (`dataset.train_size`)
            that were swept; of a sweep the first and the last snapshot are shown.
        shown: selectors of the `datasets`, `models` and `methods` in figures against the epoch or the coordinate.
        swept: the same of figures against a setting.
        over: what a dot of a figure is the mean over.
    """

    against: Sequence[str] = ("epoch",)
    shown: Shown = field(default_factory=dict)
    swept: Shown = field(default_factory=dict)
    over: str = "examples and seeds"

    def evidence(self, tables: Tables, rows: pd.DataFrame) -> list[dict[str, Any]]:
        """As of `theorem_holds`; a cell that the theorem does not apply to has one row, "not run", with the reason."""
        reasons = self.not_applicable(tables)
        covered = [row for row in super().evidence(tables, rows) if tuple(row[key] for key in CELL) not in reasons]
        return covered + [
            {**dict(zip(CELL, cell, strict=True)), "premise holds": 0, "decision": "not run", "not applicable": reason}
            for cell, reason in reasons.items()
        ]

    def more_reasons(self, tables: Tables, held: pd.DataFrame) -> list[Reason]:
        """The median tightness of each of several inequalities, and which models the theorem does not apply to."""
        medians = held[held["sense"] != "equal"].groupby("theorem")["tightness"].median().dropna().sort_values()
        named = {_right_side(str(theorem)): float(value) for theorem, value in medians.items()}
        reasons = [because("medians", of=named)] if len(named) > 1 else []
        models: dict[str, list[str]] = {}
        for (_, model, _), why in self.not_applicable(tables).items():
            models[why] = [*dict.fromkeys([*models.get(why, []), model])]
        return reasons + [because("not_applicable", models=names, why=why) for why, names in models.items()]

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """One for each abscissa that has something to show."""
        held = rows[rows["premise_holds"].astype(bool)]
        drawn = [self._figure(held, tables.runs, x) for x in self.against] if len(held) else []
        return [figure for figure in drawn if figure is not None]

    def not_applicable(self, tables: Tables) -> Mapping[CellKey, str]:
        """Why cells without any bound are outside the theory, as their model says."""
        rows, cells = tables.checks[tables.checks["check"] == self.check], cells_of(tables.runs)
        bounded = rows["bound"].notna().groupby([rows[key] for key in CELL]).any()
        models = {cell: model_of(cells[cell]) for cell in bounded.index[~bounded]}
        reasons = {cell: model.outside_theory for cell, model in models.items() if isinstance(model, OutsideTheory)}
        return {cell: reason for cell, reason in reasons.items() if reason is not None}

    def _figure(self, rows: pd.DataFrame, runs: pd.DataFrame, x: str) -> Figure | None:
        if x in ("epoch", "coordinate"):
            rows = drawn_rows(rows, runs, self.shown)
            rows = rows.assign(x=rows[x], panel=short_names(rows))
            label = self.coordinate if x == "coordinate" else "epoch"
        else:
            rows, label = sweep_rows(drawn_rows(rows, runs, self.swept), runs, x), setting_label(x)
            if not len(rows):
                return None
            ends = [rows.groupby(list(RUN))["step"].transform(end) for end in ("min", "max")]
            first, last = (rows["step"] == end for end in ends)
            rows = rows.assign(panel=rows["group"] + first.map({True: ": start", False: ": trained"}))[first | last]
        panels = sorted(set(rows["panel"]))[:MAX_PANELS]
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


def drawn_rows(rows: pd.DataFrame, runs: pd.DataFrame, shown: Shown) -> pd.DataFrame:
    """The rows of the cells that these selectors of `datasets`, `models` and `methods` choose, whatever their role."""
    cells = cells_of(runs)
    roles = sorted({role for cell in cells.values() for role in cell["roles"]})
    return rows_of(rows, set(SelectsCells(**dict(shown), roles=roles).chosen(cells)))


def short_names(rows: pd.DataFrame) -> pd.Series:
    """The model of each row, with the dataset where the model met several, and the method where both met several."""
    name = rows["model"]
    for key in ("dataset", "method"):
        several = rows.groupby(name)[key].transform("nunique") > 1
        name = name.where(~several, name + " · " + rows[key])
    return name


def _series(rows: pd.DataFrame) -> pd.DataFrame:
    """What was measured once, and each theorem's bound."""
    parts = [averaged(rows.assign(series="measured"), "measured")]
    for theorem, part in rows.groupby("theorem"):
        parts.append(averaged(part.assign(series=_right_side(str(theorem))), "bound", "bound"))
    return pd.concat(parts, ignore_index=True)


def _right_side(theorem: str) -> str:
    """What an inequality states as the bound: B2 of "‖∇²f‖ ≤ B2"."""
    return theorem.replace("≥", "≤").rpartition("≤")[2].strip()
