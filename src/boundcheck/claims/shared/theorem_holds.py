"""The claim that a theorem holds on the curve: every row of a check whose premise holds keeps its bound."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.figures import bound_figures
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import RUN
from boundcheck.verdicts import Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TheoremHolds:
    """A theorem is `supported` where every row whose premise holds is within its tolerance of the bound.

    One row outside is enough to contradict it. It is `vacuous` where its premise holds nowhere, or where it holds
    with a median tightness (bound/measured, or measured/bound for a lower bound) above `vacuous_above`; of a theorem
    of several inequalities the tightest counts. The verdict's tightness is that median; it has no effect size.

    Args:
        check: the check's name in the config.
        statement: what the paper states.
        reference: where it does.
        vacuous_above: the median tightness above which a bound says nothing; None: never vacuous for its looseness.
        quantity: label of what is bounded, with its unit, for figures.
        coordinate: label of the check's coordinate, with its unit, for figures.
        paper_value: the paper's own figure, where one is sourced.
        tightness_of: the inequalities that count for the tightness, a pattern.
    """

    check: str
    statement: str
    reference: str
    vacuous_above: float | None = None
    quantity: str = "value"
    coordinate: str = "coordinate"
    paper_value: str = "not available"
    tightness_of: str = "*"

    def __post_init__(self) -> None:
        if self.vacuous_above is not None and not self.vacuous_above >= 1:
            raise ValueError(f"vacuous_above: got {self.vacuous_above}; allowed: >= 1, or none")

    def decide(self, tables: Tables) -> Verdict:
        """Count the rows, the violations among those whose premise holds, and their tightness."""
        rows = tables.checks[tables.checks["check"] == self.check]
        absent = absences(tables.runs)
        if not len(rows):
            reason = "; ".join(filter(None, (f"nothing was measured that {self.check} could be checked on", absent)))
            return Verdict("not run", reason, paper_value=self.paper_value)
        held = rows[rows["premise_holds"]]
        common: dict[str, Any] = {
            "num_runs": len(held[list(RUN)].drop_duplicates()),
            "paper_value": self.paper_value,
            "cells": _cells(rows),
            "figures": bound_figures(rows, self.quantity, self.coordinate),
        }
        if not len(held):
            return Verdict("vacuous", _join(f"the premise holds on none of {len(rows)} rows", absent), **common)
        counted = held[[fnmatchcase(theorem, self.tightness_of) for theorem in held["theorem"]]]
        tightness = float(counted.groupby("theorem")["tightness"].median().min())
        found = _join(f"{len(held)} of {len(rows)} rows satisfy the premise", _equality(held))
        if not np.isnan(tightness):  # an equality with 0 has none
            of = "" if len(counted) == len(held) else f" of {self.tightness_of}"
            found += f"; tightness{of} {counted['tightness'].min():.4g} (worst), {tightness:.4g} (median)"
        violated = held[~held["holds"].astype(bool)]
        if len(violated):
            reason = f"{len(violated)} rows violate it, worst {_worst(violated)}; {found}"
            return Verdict("contradicted", _join(reason, absent), tightness=tightness, **common)
        if self.vacuous_above is not None and tightness > self.vacuous_above:
            reason = (
                f"it holds on every row, but {tightness:.3g} times too loose (limit {self.vacuous_above:g}); {found}"
            )
            return Verdict("vacuous", _join(reason, absent), tightness=tightness, **common)
        return Verdict("supported", _join(f"it holds on every row; {found}", absent), tightness=tightness, **common)


def _cells(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The evidence: for each cell and inequality the rows, the violations and the tightness."""
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
    return [{str(key): value for key, value in row.items()} for row in table.rename(columns=names).to_dict("records")]


def _equality(held: pd.DataFrame) -> str:
    """How far apart what should be equal lies at most, against its tolerance; "" where nothing should."""
    equal = held[held["sense"] == "equal"]
    if not len(equal):
        return ""
    apart = (equal["measured"] - equal["bound"]).abs()
    row = int((apart / equal["tolerance"]).fillna(0.0).to_numpy().argmax())
    return f"equal up to {apart.iloc[row]:.2g} (tolerance {equal['tolerance'].iloc[row]:.2g})"


def _worst(violated: pd.DataFrame) -> str:
    """The row that lies furthest outside, in units of its bound."""
    excess = (violated["measured"] - violated["bound"]).abs() - violated["tolerance"]
    scale = violated["bound"].abs().replace(0.0, np.nan)
    row = violated.iloc[int((excess / scale).fillna(np.inf).to_numpy().argmax())]
    at = "" if np.isnan(row["coordinate"]) else f", coordinate {row['coordinate']:g}"
    relation = {"upper": "≤", "lower": "≥", "equal": "="}[row["sense"]]
    return (
        f"{row['dataset']}/{row['model']}/{row['method']} seed {row['seed']} step {row['step']}{at}: "
        f"measured {row['measured']:.6g}, stated {relation} {row['bound']:.6g} (± {row['tolerance']:.2g})"
    )


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
