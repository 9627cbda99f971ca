"""The claim that a theorem holds on the curve: every row of a check whose premise holds keeps its bound."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from boundcheck.claims.shared.figures import bound_figures
from boundcheck.claims.shared.rows import RUN, records
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because


@settings(kw_only=True)
class TheoremHolds(SelectsCells):
    """A theorem is `supported` where every row whose premise holds is within its tolerance of the bound.

    One row outside is enough to contradict it. It is `vacuous` where its premise holds nowhere, or where it holds
    with a median tightness (bound/measured, or measured/bound for a lower bound) above `vacuous_above`; of a theorem
    of several inequalities the tightest counts. The verdict's tightness is that median; it has no effect size.

    Args:
        check: the check's name.
        vacuous_above: the median tightness above which a bound says nothing; None: never vacuous for its looseness.
        quantity: label of what is bounded, with its unit, for figures.
        coordinate: label of the check's coordinate, with its unit, for figures.
        tightness_of: the inequalities that count for the tightness, a pattern.
    """

    check: str
    vacuous_above: Annotated[float, Field(ge=1)] | None = None
    quantity: str = "value"
    coordinate: str = "coordinate"
    tightness_of: str = "*"

    def decide(self, tables: Tables) -> Verdict:
        """Count the rows and the violations where the premise holds, and take the tightness."""
        tables = self.only(tables)
        rows = tables.checks[tables.checks["check"] == self.check]
        absent = absent_runs(tables.runs)
        if not len(rows):
            return Verdict("not run", [because("nothing_to_check", check=self.check), *absent])
        held = rows[rows["premise_holds"]]
        decision, reasons, tightness = self._decided(rows, held)
        verdict = Verdict(
            decision,
            [*reasons, *self.more_reasons(tables, held), *absent],
            tightness=tightness,
            num_runs=len(held[list(RUN)].drop_duplicates()),
            cells=self.evidence(tables, rows),
            figures=self.figures(tables, rows),
        )
        return self.weighed(verdict, tables, rows)

    def weighed(self, verdict: Verdict, tables: Tables, rows: pd.DataFrame) -> Verdict:
        """The verdict with what is worth knowing of a bound that holds; `rows` are those of the check."""
        return verdict

    def evidence(self, tables: Tables, rows: pd.DataFrame) -> list[dict[str, Any]]:
        """For each cell and inequality the rows, the violations and the tightness."""
        premise = rows["premise_holds"].astype(bool)
        marked = rows.assign(
            held=premise,
            violated=premise & ~rows["holds"].fillna(True).astype(bool),
            tightness=rows["tightness"].where(premise),
            seed=rows["seed"].where(premise),
        )
        groups = marked.groupby(["dataset", "model", "method", "theorem"])
        table = groups.agg(
            rows=("held", "size"),
            held=("held", "sum"),
            violations=("violated", "sum"),
            worst=("tightness", "min"),
            median=("tightness", "median"),
            n=("seed", "nunique"),
        ).reset_index()
        table["decision"] = np.select(
            [table["held"] == 0, table["violations"] > 0], ["vacuous", "contradicted"], "supported"
        )
        if table["theorem"].nunique() == 1:
            table = table.drop(columns="theorem")
        names = {"held": "premise holds", "worst": "worst tightness", "median": "median tightness"}
        return records(table.rename(columns=names))

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """The bounds beside what was measured."""
        return bound_figures(rows, self.quantity, self.coordinate)

    def more_reasons(self, tables: Tables, held: pd.DataFrame) -> list[Reason]:
        """What a reader must know besides; `held` are the rows whose premise holds."""
        return []

    def _decided(self, rows: pd.DataFrame, held: pd.DataFrame) -> tuple[Decision, list[Reason], float]:
        """The decision, its reasons, and the median tightness."""
        if not len(held):
            return "vacuous", [because("premise_nowhere", num_rows=len(rows))], float("nan")
        counted = held[[fnmatchcase(theorem, self.tightness_of) for theorem in held["theorem"]]]
        tightness = float(counted.groupby("theorem")["tightness"].median().min())
        details = [because("premise_rows", num=len(held), num_rows=len(rows)), *_equality(held)]
        if not np.isnan(tightness):  # an equality with 0 has none
            worst = float(counted["tightness"].min())
            of = {} if len(counted) == len(held) else {"of": self.tightness_of}
            details.append(because("tightness", worst=worst, median=tightness, **of))
        violated = held[~held["holds"].astype(bool)]
        if len(violated):
            return "contradicted", [_worst(violated), *details], tightness
        if self.vacuous_above is not None and tightness > self.vacuous_above:
            return "vacuous", [because("too_loose", tightness=tightness, limit=self.vacuous_above), *details], tightness
        return "supported", [because("holds"), *details], tightness


def _equality(held: pd.DataFrame) -> Sequence[Reason]:
    """How far apart what should be equal lies at most, against its tolerance; none where nothing should."""
    equal = held[held["sense"] == "equal"]
    if not len(equal):
        return []
    apart = (equal["measured"] - equal["bound"]).abs()
    row = int((apart / equal["tolerance"]).fillna(0.0).to_numpy().argmax())
    return [because("equal_up_to", apart=float(apart.iloc[row]), tolerance=float(equal["tolerance"].iloc[row]))]


def _worst(violated: pd.DataFrame) -> Reason:
    """How many rows lie outside, and the one that lies furthest, in units of its bound."""
    excess = (violated["measured"] - violated["bound"]).abs() - violated["tolerance"]
    scale = violated["bound"].abs().replace(0.0, np.nan)
    row = violated.iloc[int((excess / scale).fillna(np.inf).to_numpy().argmax())]
    numbers = {name: float(row[name]) for name in ("coordinate", "measured", "bound", "tolerance")}
    return because(
        "violated",
        num=len(violated),
        cell=[row["dataset"], row["model"], row["method"]],
        seed=int(row["seed"]),
        step=int(row["step"]),
        sense=row["sense"],
        **numbers,
    )
