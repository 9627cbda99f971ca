"""Bits of two trainings compared step by step: where theory says that they are the same, and where not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boundcheck.claims.binary_filter.bit_comparisons import comparisons, mismatch_figure, mismatch_table
from boundcheck.claims.binary_filter.relations import RELATIONS, SelectsTwins, Twins, is_clipped
from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import RUN, check_rows, ends
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
        """One row per pair and seed."""
        cells = cells_of(tables.runs)
        compared = comparisons(tables, self.related(cells))
        measured = [float(differing.mean()) for differing in compared["differing"]]
        runs = zip(compared["twins"], compared["seed"], strict=True)
        premise = np.array([self._premise(tables, cells, *run) for run in runs], dtype=bool)
        return check_rows(compared, self.theorem, "upper", 0.0, measured, premise_holds=premise)

    def _premise(self, tables: Tables, cells: Cells, twins: Twins, seed: int) -> bool:
        first, second = (cells[key] for key in twins)
        relation = next(RELATIONS[name] for name in self.relations if RELATIONS[name].holds(first, second))
        model = first["model"]
        is_stated = model["weight_gradient"] == "identity" and model["scaling"] in relation.scalings
        is_precise = not relation.needs_float64 or first["training"]["precision"] == "float64"
        is_unclipped = not any(_clip_was_active(tables, cells, key, seed) for key in twins)
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
        """Count the bits that differ, over the pairs whose premise holds."""
        compared, absent = _compared(self, tables)
        rows = tables.checks[tables.checks["check"] == self.check]
        compared = compared.merge(rows[[*RUN, "premise_holds"]], on=list(RUN))
        if compared.empty:
            return Verdict("not run", absent or [because("no_bits")])
        counted = compared[compared["premise_holds"].astype(bool)]
        num_wrong = int(counted["wrong"].sum())
        cells = mismatch_table(compared)
        held = set(counted[list(CELL)].itertuples(index=False, name=None))
        premise = ["holds" if tuple(row[key] for key in CELL) in held else "fails" for row in cells]
        numbers = {
            "num_wrong": num_wrong,
            "num_steps": sum(len(steps) - 1 for steps in counted["steps"]),
            "num_pairs": len(counted),
            "num_flips": int(counted["flips"].sum()),
            "num_undecided": len(compared) - len(counted),
        }
        decision: Decision = "contradicted" if num_wrong else "supported" if len(counted) else "vacuous"
        return Verdict(
            decision,
            [because("bits_compared", **numbers), *absent],
            effect=float(num_wrong) if len(counted) else NAN,
            unit="bits that differ",
            num_runs=len(counted),
            cells=[{**row, "premise": holds} for row, holds in zip(cells, premise, strict=True)],
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
        """Count the runs in which bits differ."""
        cells = cells_of(tables.runs)
        compared, absent = _compared(self, tables)
        runs = zip(compared["twins"], compared["seed"], strict=True)
        compared = compared[[not _is_idle_clip(tables, cells, *run) for run in runs]]
        if compared.empty:
            return Verdict("not run", absent or [because("no_bits")])
        firsts = compared["first_wrong"].dropna()
        steps = ends(firsts) if len(firsts) else []
        decision: Decision = "supported"
        if firsts.empty:
            decision = "contradicted" if self.everywhere else "inconclusive"
        elif self.everywhere and len(firsts) < len(compared):
            decision = "inconclusive"
        return Verdict(
            decision,
            [because("bits_differ", num=len(firsts), num_pairs=len(compared), first_steps=steps)],
            effect=float(compared["end"].mean()),
            unit="% of bits at the end",
            num_runs=len(compared),
            cells=mismatch_table(compared),
            figures=[mismatch_figure(compared)],
        )


def _compared(claim: SelectsTwins, tables: Tables) -> tuple[pd.DataFrame, list[Reason]]:
    """The pairs of runs that a claim selects, and what is absent of them."""
    return comparisons(tables, claim.related(cells_of(tables.runs))), absent_runs(claim.only(tables).runs)


def _clip_was_active(tables: Tables, cells: Cells, key: CellKey, seed: int) -> bool:
    """Whether clipping may have changed a latent weight: one reached 1, or none was recorded."""
    if not matches({"clip": True}, cells[key]["method"]):
        return False
    curves = only_cells(tables, [key]).curves
    largest = curves.loc[(curves["seed"] == seed) & (curves["quantity"] == "largest_latent"), "value"]
    return not (len(largest) and largest.max() < 1)


def _is_idle_clip(tables: Tables, cells: Cells, twins: Twins, seed: int) -> bool:
    """Whether the two trainings differ by a clipping that changed nothing."""
    first, second = twins
    return is_clipped(cells[first], cells[second]) and not _clip_was_active(tables, cells, second, seed)
