"""Bits of two trainings compared step by step: where theory says that they are the same, and where not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boundcheck.claims.binary_filter.bit_comparisons import Comparison, comparisons, mismatch_figure, mismatch_table
from boundcheck.claims.binary_filter.relations import RELATIONS, SelectsTwins, is_clipped
from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, cells_of, matches, only_cells
from boundcheck.claims.shared.values import absent_runs
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Reason, Tables, Verdict, because


@settings(kw_only=True)
class SameBits(SelectsTwins):
    """Two trainings have the same bits at every step: a row per pair, cell and seed, bound 0 on the differing share.

    The premise is that of the mapping table: a straight-through gradient that is not cut off, no active clipping, and
    layers scaled as the relation allows (before a normalisation with ϵ < 1e-20, where they are). `filter` also needs
    double precision, as float32 may decide a near-tie either way. The row's step is the first at which a bit differs,
    or else the last.

    Scaling of form 1 changes no bit in exact arithmetic, and with a power of two for each scale (`form_1_dyadic`) none
    in float arithmetic either. With s = mean|w| itself, pre-activations that equal their mean over the batch, as sums
    of ±1 often do at first, are 0 behind the normalisation only up to rounding, so that chance decides their sign: for
    `form_1` only `rescaled` can be stated, which compares equal roundings.

    Args:
        theorem: what is stated, for the report.
    """

    theorem: str = "share of differing bits = 0"

    def __post_init__(self) -> None:
        if impossible := [name for name in self.relations if not RELATIONS[name].scalings]:
            allowed = ", ".join(name for name, relation in RELATIONS.items() if relation.scalings)
            raise ValueError(f"relations: got {', '.join(impossible)}; allowed: {allowed}")

    def rows(self, tables: Tables) -> pd.DataFrame:
        """See Check."""
        cells = cells_of(tables.runs)
        compared = comparisons(tables, self.related(cells))
        keys = pd.DataFrame(
            [(*c.run, c.decided_at, float(c.training["epochs"])) for c in compared],
            columns=list(KEYS),
        )
        return check_rows(
            keys,
            self.theorem,
            "upper",
            bound=0.0,
            measured=[float(c.differing.mean()) for c in compared],
            premise_holds=np.array([self._premise(tables, cells, c) for c in compared], dtype=bool),
        )

    def _premise(self, tables: Tables, cells: Cells, compared: Comparison) -> bool:
        first, second = (cells[key] for key in compared.twins)
        relation = next(RELATIONS[name] for name in self.relations if RELATIONS[name].holds(first, second))
        model = first["model"]
        is_stated = model["weight_gradient"] == "identity" and model["scaling"] in relation.scalings
        is_precise = not relation.needs_float64 or compared.training["precision"] == "float64"
        is_unclipped = not any(_clip_was_active(tables, cells, key, compared.seed) for key in compared.twins)
        return is_stated and is_precise and is_unclipped and model_of(first).cancels_scale


@settings(kw_only=True)
class BitsAgree(SelectsTwins):
    """A check of kind `same_bits` holds for the selected pairs wherever its premise does, and that of some.

    The effect is the number of bits that differ where the premise holds. One bit is enough to contradict it; it is
    `vacuous` where the premise holds nowhere.

    Args:
        check: the name of the check, which compares these pairs.
    """

    check: str

    def decide(self, tables: Tables) -> Verdict:
        """Count the bits that differ, of the pairs whose premise holds."""
        compared, absent = _compared(self, tables)
        rows = tables.checks[tables.checks["check"] == self.check]
        premise = dict(zip(rows[list(RUN)].itertuples(index=False, name=None), rows["premise_holds"], strict=True))
        compared = [c for c in compared if c.run in premise]
        if not compared:
            return Verdict("not run", absent or [because("no_bits")])
        counted = [c for c in compared if premise[c.run]]
        held = {c.run[:3] for c in counted}
        cells = [
            {**row, "premise": "holds" if tuple(row[key] for key in CELL) in held else "fails"}
            for row in mismatch_table(compared)
        ]
        num_wrong = sum(c.mismatches for c in counted)
        numbers = {
            "num_wrong": num_wrong,
            "num_steps": sum(len(c.steps) - 1 for c in counted),
            "num_pairs": len(counted),
            "num_flips": sum(c.num_flips for c in counted),
            "num_undecided": len(compared) - len(counted),
        }
        decision: Decision = "contradicted" if num_wrong else "supported" if counted else "vacuous"
        return Verdict(
            decision,
            [because("bits_compared", **numbers), *absent],
            effect=float(num_wrong) if counted else NAN,
            unit="bits that differ",
            num_runs=len(counted),
            cells=cells,
            figures=[mismatch_figure(compared)] if num_wrong else [],
        )


@settings(kw_only=True)
class BitsDiffer(SelectsTwins):
    """Where theory says that an equivalence ends, bits differ: in every seed of every pair that was run, or in one.

    Of `clipped` pairs only those count whose clipping was active, with a latent weight that reached 1.

    Args:
        everywhere: whether theory says so of every run; else that it can happen, which no run contradicts.
    """

    everywhere: bool = True

    def decide(self, tables: Tables) -> Verdict:
        """`supported` where bits differ in all runs, or in one if not `everywhere`; `contradicted` where in none."""
        cells = cells_of(tables.runs)
        compared, absent = _compared(self, tables)
        compared = [c for c in compared if not _is_idle_clip(tables, cells, c)]
        if not compared:
            return Verdict("not run", absent or [because("no_bits")])
        firsts = [c.first_mismatch for c in compared if c.mismatches]
        steps = [min(firsts), max(firsts)] if firsts else []
        decision: Decision = "supported"
        if not firsts:
            decision = "contradicted" if self.everywhere else "inconclusive"
        elif self.everywhere and len(firsts) < len(compared):
            decision = "inconclusive"
        return Verdict(
            decision,
            [because("bits_differ", num=len(firsts), num_pairs=len(compared), first_steps=steps)],
            effect=float(np.mean([100 * float(c.differing[-1]) for c in compared])),
            unit="% of bits at the end",
            num_runs=len(compared),
            cells=mismatch_table(compared),
            figures=[mismatch_figure(compared)],
        )


def _compared(claim: SelectsTwins, tables: Tables) -> tuple[list[Comparison], list[Reason]]:
    """The pairs of runs that a claim selects, and what is absent of them."""
    return comparisons(tables, claim.related(cells_of(tables.runs))), absent_runs(claim.only(tables).runs)


def _clip_was_active(tables: Tables, cells: Cells, key: CellKey, seed: int) -> bool:
    """Whether clipping may have changed a latent weight: one reached 1, or none was recorded."""
    if not matches({"clip": True}, cells[key]["method"]):
        return False
    curves = only_cells(tables, [key]).curves
    largest = curves.loc[(curves["seed"] == seed) & (curves["quantity"] == "largest_latent"), "value"]
    return not (len(largest) and largest.max() < 1)


def _is_idle_clip(tables: Tables, cells: Cells, compared: Comparison) -> bool:
    """Whether the two trainings differ by a clipping that changed nothing."""
    first, second = compared.twins
    return is_clipped(cells[first], cells[second]) and not _clip_was_active(tables, cells, second, compared.seed)
