"""Filters fed with the gradients of one latent training: which mappings of its settings get every bit right."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from boundcheck.claims.binary_filter.relations import has_constant_rate
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, SelectsCells, cells_of
from boundcheck.claims.shared.values import absent_runs
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Figure, Tables, Verdict, because

IN_WORDS = {  # the mappings of methods/mapped_filter.py
    "state_space": "state space",
    "riccati": "Riccati recursion",
    "first_roots": "roots at lr₀",
    "frozen_roots": "roots at each lr",
    "scaled_alpha": "α ∝ lr",
    "scaled_alpha_no_momentum": "α ∝ lr, m₀ = 0",
    "small_rates": "α = lr·wd/(1−μ), γ = 1−μ",
    "product": "α = lr·wd, γ = 1−μ",
    "zero_start": "α ∝ lr, start at 0",
}


@settings(kw_only=True)
class ReplayedMappings(SelectsCells):
    """On the gradients of one run, mappings that theory calls exact get no bit wrong, and the others some.

    `contradicted` where an exact one gets a bit wrong, `inconclusive` where another one gets none wrong.
    """

    quantity: ClassVar[str] = "bits_wrong"
    source: ClassVar[str] = "curves"

    def decide(self, tables: Tables) -> Verdict:
        """Count the wrong bits of every mapping, on every run that replayed its gradients."""
        from boundcheck.methods.mapped_filter import MAPPINGS, is_exact

        tables = self.only(tables)
        rows = tables.curves[tables.curves["quantity"] == self.quantity]
        if not len(rows):
            return Verdict("not run", absent_runs(tables.runs) or [because("no_run_has", quantity=self.quantity)])
        rows = rows.assign(mapping=[MAPPINGS[int(i)] for i in rows["index"]])
        settings_of = cells_of(tables.runs)
        cells: list[dict[str, Any]] = []
        wrong: list[list[str]] = []  # bits, by a mapping that should be exact
        lucky: list[list[str]] = []  # no bit, by one that should not
        groups: Any = rows.groupby([*CELL, "index", "mapping"])
        for (*key, _, mapping), part in groups:
            is_constant = has_constant_rate(settings_of[*key]["training"])
            should_be_exact, share = is_exact(mapping, is_constant), float(part["value"].mean())
            if (share == 0) != should_be_exact:
                (wrong if should_be_exact else lucky).append([IN_WORDS[mapping], *key])
            row = {
                "mapping": IN_WORDS[mapping],
                "lr": "constant" if is_constant else "scheduled",
                "bits wrong per step (%)": 100 * share,
                "exact by theory": "yes" if should_be_exact else "no",
                "n": part["seed"].nunique(),
            }
            cells.append(dict(zip(CELL, key, strict=True)) | row)
        decision: Decision = "contradicted" if wrong else "inconclusive" if lucky else "supported"
        return Verdict(
            decision,
            [because("mappings_replayed", num_cells=len(cells), wrong=wrong, lucky=lucky)],
            num_runs=len(rows[list(RUN)].drop_duplicates()),
            cells=cells,
            figures=[_figure(rows)],
        )


def _figure(rows: pd.DataFrame) -> Figure:
    panel, series = rows["dataset"] + " · " + rows["method"], [IN_WORDS[mapping] for mapping in rows["mapping"]]
    data = averaged(rows.assign(panel=panel, series=series, x=rows["epoch"], value=100 * rows["value"]))
    caption = "Bits that a mapped filter gets wrong in a step on the gradients of a latent training, by mapping."
    return Figure(data, "line", "epoch", "bits wrong per step (%)", caption)
