"""Bits of two trainings compared step by step: where theory says that they are the same, and where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.binary_filter.bit_comparisons import Comparison, comparisons, mismatch_figure, mismatch_table
from boundcheck.claims.shared.pairs import absences
from boundcheck.claims.shared.rows import check_rows
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.contracts import NAN
from boundcheck.verdicts import Decision, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SameBits:
    """Two trainings have the same bits at every step: a row per pair, cell and seed, bound 0 on the differing share.

    The premise is that of the mapping table: identity straight-through gradient, no active clipping, layers scaled as
    stated (before a normalisation with ϵ < 1e-20, where they are), and (`needs_float64`) double precision, as float32
    may decide a near-tie either way. The row's step is the first at which a bit differs, or else the last.

    Scaling of form 1 changes no bit in exact arithmetic, and with a power of two for each scale (`form_1_dyadic`) none
    in float arithmetic either. With s = mean|w| itself, pre-activations that equal their mean over the batch, as sums
    of ±1 often do at first, are 0 behind the normalisation only up to rounding, so that their sign is one of chance:
    for `form_1` can be stated only what compares equal roundings.

    Args:
        pairs: names of two methods each.
        theorem: what is stated, for the report.
        needs_float64: false where both trainings do the same arithmetic up to powers of two.
        scaling: of the layers that it is stated for: `none`, `form_1_dyadic`, `form_2`; `form_1` where `needs_float64`
            is false.
    """

    pairs: Sequence[Sequence[str]]
    theorem: str = "share of differing bits = 0"
    needs_float64: bool = True
    scaling: str = "none"

    def __post_init__(self) -> None:
        check_pairs(self.pairs)
        allowed = ("none", "form_1_dyadic", "form_2", *(() if self.needs_float64 else ("form_1",)))
        if self.scaling not in allowed:
            raise ValueError(f"scaling: got {self.scaling!r}; allowed: {', '.join(allowed)}")

    def rows(self, tables: Tables) -> pd.DataFrame:
        """See Check."""
        import pandas as pd

        found = list(comparisons(tables, self.pairs))
        keys = pd.DataFrame(
            [(c.dataset, c.model, c.label, c.seed, c.decided_at, self._epochs(tables, c)) for c in found],
            columns=["dataset", "model", "method", "seed", "step", "epoch"],
        )
        premises = [self._premise(tables, c) for c in found]
        return check_rows(
            keys,
            self.theorem,
            "upper",
            bound=0.0,
            measured=[float(c.differing.mean()) for c in found],
            premise_holds=np.array(premises, dtype=bool),
        )

    @staticmethod
    def _epochs(tables: Tables, found: Comparison) -> float:
        runs = tables.runs
        return float(runs.loc[runs["method"] == found.pair[0], "training"].iloc[0]["epochs"])

    def _premise(self, tables: Tables, found: Comparison) -> bool:
        runs = tables.runs
        where = (runs["dataset"] == found.dataset) & (runs["model"] == found.model) & (runs["seed"] == found.seed)
        mine = runs[where & runs["method"].isin(found.pair)]
        model = mine["model_spec"].iloc[0]
        is_plain = model.get("weight_gradient", "identity") == "identity"
        is_plain &= model.get("scaling", "none") == self.scaling
        is_plain &= self.scaling == "none" or model.get("batch_norm_eps", 1e-5) < 1e-20
        precise = not self.needs_float64 or all(t["precision"] == "float64" for t in mine["training"])
        clipped = [m for m, spec in zip(mine["method"], mine["method_spec"], strict=True) if spec.get("clip")]
        return is_plain and precise and all(self._never_large(tables, found, method) for method in clipped)

    def _never_large(self, tables: Tables, found: Comparison, method: str) -> bool:
        c = tables.curves
        mine = (c["dataset"] == found.dataset) & (c["model"] == found.model) & (c["seed"] == found.seed)
        largest = c.loc[mine & (c["method"] == method) & (c["quantity"] == "largest_latent"), "value"]
        return bool(len(largest) and largest.max() < 1)


@dataclass(frozen=True)
class BitsDiffer:
    """Where theory says that an equivalence ends, bits differ: in every seed of every pair that was run, or in one.

    Args:
        statement: what is stated.
        reference: where.
        pairs: names of two methods each.
        models: models that count; none: all.
        everywhere: whether theory says so of every run, else that it can happen, which no run contradicts.
    """

    statement: str
    reference: str
    pairs: Sequence[Sequence[str]]
    models: Sequence[str] = ()
    everywhere: bool = True

    def __post_init__(self) -> None:
        check_pairs(self.pairs)

    def decide(self, tables: Tables) -> Verdict:
        """`supported` where bits differ in all runs, or in one if not `everywhere`; `contradicted` where never."""
        found = [c for c in comparisons(tables, self.pairs) if not self.models or c.model in self.models]
        if not found:
            return Verdict("not run", absences(_of_pairs(tables, self.pairs).runs) or "no pair has the bits of both")
        same = [c for c in found if c.mismatches == 0]
        firsts = [c.first_mismatch for c in found if c.mismatches]
        reason = f"bits differ in {len(found) - len(same)} of {len(found)} pairs of runs"
        if firsts:
            first, last = min(firsts), max(firsts)
            reason += f", first at step {first:g}" if first == last else f", first at steps {first:g} to {last:g}"
        ends = [100 * float(c.differing[-1]) for c in found]
        return Verdict(
            self._decision(len(firsts), len(same)),
            reason,
            effect=float(np.mean(ends)),
            unit="% of bits at the end",
            num_runs=len({(c.dataset, c.model, c.pair, c.seed) for c in found}),
            cells=mismatch_table(found),
            figures=[mismatch_figure(found)],
        )

    def _decision(self, num_different: int, num_same: int) -> Decision:
        if not num_different:
            return "contradicted" if self.everywhere else "inconclusive"
        return "inconclusive" if num_same and self.everywhere else "supported"


@dataclass(frozen=True)
class BitsAgree:
    """The check `check` of kind same_bits holds wherever its premise does, with what was compared as evidence.

    Args:
        statement: what is stated.
        reference: where.
        check: the check's name in the config.
        pairs: names of two methods each, those of the check.
    """

    statement: str
    reference: str
    check: str
    pairs: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        check_pairs(self.pairs)

    def decide(self, tables: Tables) -> Verdict:
        """As `theorem_holds`; the effect is the number of bits that differ where the premise holds."""
        verdict = TheoremHolds(self.check, self.statement, self.reference).decide(_of_pairs(tables, self.pairs))
        rows = tables.checks[(tables.checks["check"] == self.check) & tables.checks["premise_holds"].astype(bool)]
        keys = set(zip(rows["dataset"], rows["model"], rows["method"], rows["seed"], strict=True))
        found = list(comparisons(tables, self.pairs))
        if not found:
            return verdict
        held = [c for c in found if (c.dataset, c.model, c.label, c.seed) in keys]
        steps, flips = sum(len(c.steps) - 1 for c in held), sum(c.num_flips for c in held)
        wrong = sum(c.mismatches for c in held)
        reason = (
            f"{wrong} of the bits differ over {steps} recorded steps of {len(held)} pairs of runs with {flips} flips"
        )
        if len(held) < len(found):
            reason += f"; {len(found) - len(held)} more, whose premise fails, decide nothing"
        why = absences(_of_pairs(tables, self.pairs).runs) if verdict.decision == "supported" else verdict.reason
        labels = {(c.dataset, c.model, c.label) for c in held}
        table = mismatch_table(found)
        for row in table:
            premise = (row["dataset"], row["model"], row["method"]) in labels
            row["premise"] = "holds" if premise else "fails"
        return replace(
            verdict,
            reason="; ".join(filter(None, (reason, why))),
            effect=float(wrong),
            unit="bits that differ",
            tightness=NAN,
            cells=table,
            figures=[mismatch_figure(found)] if wrong else [],
        )


def _of_pairs(tables: Tables, pairs: Sequence[Sequence[str]]) -> Tables:
    """The tables with the runs of these methods only, so that reasons name no others."""
    return tables._replace(runs=tables.runs[tables.runs["method"].isin({name for pair in pairs for name in pair})])


def check_pairs(pairs: Sequence[Sequence[str]]) -> None:
    """Refuse what is no list of pairs of names, with a ValueError."""
    good = not isinstance(pairs, str) and len(pairs) > 0
    if not (good and all(not isinstance(pair, str) and len(pair) == 2 for pair in pairs)):
        raise ValueError(f"pairs: got {pairs!r}; allowed: a list of pairs of methods")
