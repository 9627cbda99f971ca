"""Learning rate and weight decay of latent weights act through their product: the grid of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from boundcheck.claims.binary_filter.bit_comparisons import Comparison, comparisons
from boundcheck.claims.shared.pairs import absences, matching, run_values
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.contracts import NAN
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


class Setting(NamedTuple):
    """Where a training stands in the grid."""

    lr: float
    decay: float
    start: float  # scale of w₀

    @property
    def product(self) -> float:
        """lr·weight_decay, to six digits."""
        return float(f"{self.lr * self.decay:.6g}")

    def acts_like(self, other: Setting) -> bool:
        """Whether both have the same bits by theory: equal lr·weight_decay, and equal w₀/lr."""
        return self.product == other.product and bool(np.isclose(self.start / self.lr, other.start / other.lr))


Family = Mapping[str, Setting]
Found = Mapping[tuple[str, str], Sequence[Comparison]]


@dataclass(frozen=True)
class ActThroughProduct:
    """Trainings have equal bits where lr·weight_decay and w₀/lr are equal, and other bits where one of them is not.

    Every two trainings of `proportional`, and every two of `fixed`, are compared. `contradicted` where a bit of two
    differs whose product and w₀/lr are equal; else `supported` where all others do differ, in every seed, and
    `inconclusive` where some do not. The effect says how much the start alone matters: of each seed the largest
    difference of accuracy between two trainings of `fixed` with one product, its mean and interval over seeds.

    Args:
        statement: what the paper states.
        reference: where it does.
        proportional: methods of the grid whose `init_scale` is in proportion to lr; patterns are allowed.
        fixed: methods of the grid with one `init_scale`.
        centre: the method of both that the heat maps measure the agreement of bits against.
    """

    statement: str
    reference: str
    proportional: Sequence[str]
    fixed: Sequence[str]
    centre: str

    @property
    def methods(self) -> list[str]:
        """Every pattern, for the check of names."""
        return [*self.proportional, *self.fixed, self.centre]

    def decide(self, tables: Tables) -> Verdict:
        """Compare all pairs of cells."""
        specs = tables.runs[tables.runs["status"] == "done"].drop_duplicates("method").set_index("method")
        families = {"w₀ ∝ lr": _family(specs, self.proportional), "w₀ fixed": _family(specs, self.fixed)}
        settings = {name: setting for family in families.values() for name, setting in family.items()}
        pairs = {pair for family in families.values() for pair in combinations(sorted(family), 2)}
        found = {pair: runs for pair in sorted(pairs) if (runs := list(comparisons(tables, [pair])))}
        alike = [c for (a, b), runs in found.items() if settings[a].acts_like(settings[b]) for c in runs]
        others = [c for (a, b), runs in found.items() if not settings[a].acts_like(settings[b]) for c in runs]
        absent = absences(tables.runs[tables.runs["method"].isin(matching(list(tables.runs["method"]), self.methods))])
        if not alike or not others or self.centre not in settings:
            return Verdict(
                "not run", absent or "the grid lacks cells of equal product and w₀/lr, others, or its centre"
            )
        accuracy = _accuracy(tables, settings)
        interval = student_interval(list(_spread(families["w₀ fixed"], accuracy).values()))
        decision, reason = _decision(alike, others)
        spread = (
            f"at one fixed w₀ accuracies of one product lie up to {interval.mean:.3g} points apart (mean over seeds)"
        )
        equal = [self._equal(family, found) for family in families.values()]
        return Verdict(
            decision,
            "; ".join(filter(None, (reason, spread, absent))),
            interval.mean,
            interval.low,
            interval.high,
            unit="points, the largest difference at one fixed w₀",
            num_runs=interval.num,
            cells=_cells(families, accuracy, equal),
            figures=_figures(families, accuracy, equal, self.centre),
        )

    def _equal(self, family: Family, found: Found) -> dict[str, tuple[float, float]]:
        """Of each method the bits (%) equal at the end to its product's at the centre's lr, and to the centre's."""
        centre = family.get(self.centre)
        column = {s.product: name for name, s in family.items() if centre is not None and s.lr == centre.lr}
        return {
            name: (_agreement(name, column.get(setting.product), found), _agreement(name, self.centre, found))
            for name, setting in family.items()
        }


def _family(specs: pd.DataFrame, patterns: Sequence[str]) -> dict[str, Setting]:
    """Where each method stands, by weight decay and learning rate."""
    names = matching(list(specs.index), patterns)
    variants = {name: specs["method_spec"][name] for name in names}
    found = {n: Setting(v["lr"], v["weight_decay"], v.get("init_scale", 1.0)) for n, v in variants.items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].decay, item[1].lr)))


def _decision(alike: Sequence[Comparison], others: Sequence[Comparison]) -> tuple[Decision, str]:
    wrong = sum(c.mismatches for c in alike)
    same = sorted({c.label for c in others if not c.mismatches})
    ends = [100 * float(c.differing[-1]) for c in others]
    num_same = sum(not c.mismatches for c in others)
    reason = (
        f"{wrong} bits differ between {len(alike)} pairs of runs of equal product and w₀/lr; of {len(others)} pairs of "
        f"runs of another product or w₀/lr {len(others) - num_same} have other bits, {min(ends):.3g}% to "
        f"{max(ends):.3g}% at the end"
    )
    if same:
        reason += f"; none differs in {', '.join(same)}"
    return ("contradicted" if wrong else "inconclusive" if same else "supported"), reason


def _agreement(name: str, other: str | None, found: Found) -> float:
    """Bits (%) that two methods have in common at the end, mean over runs; NaN where they were not compared."""
    if name == other:
        return 100.0
    runs = found.get((min(name, other), max(name, other)), ()) if other is not None else ()
    return 100 * (1 - float(np.mean([c.differing[-1] for c in runs]))) if runs else NAN


def _accuracy(tables: Tables, names: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """In percent, by method and seed."""
    runs = tables.runs[tables.runs["method"].isin(names)]
    rows = tables.curves[(tables.curves["quantity"] == "test_accuracy") & tables.curves["method"].isin(names)]
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    for (_, _, method, seed), value in run_values(rows, runs, "last", True).items():
        found[method][seed] = 100 * value
    return found


def _spread(family: Family, accuracy: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """By seed, the largest difference of accuracy between methods of equal product."""
    by_product: dict[float, list[str]] = {}
    for name, setting in family.items():
        by_product.setdefault(setting.product, []).append(name)
    spreads: dict[int, float] = {}
    for names in by_product.values():
        seeds = set.intersection(*(set(accuracy[name]) for name in names))
        for seed in seeds:
            values = [accuracy[name][seed] for name in names]
            spreads[seed] = max(spreads.get(seed, 0.0), max(values) - min(values))
    return spreads


def _cells(
    families: Mapping[str, Family],
    accuracy: Mapping[str, Mapping[int, float]],
    equal: Sequence[Mapping[str, tuple[float, float]]],
) -> list[dict[str, Any]]:
    return [
        {
            "method": method,
            "start": name,
            "lr": setting.lr,
            "weight decay": setting.decay,
            "product": setting.product,
            "accuracy (%)": float(np.mean(list(accuracy[method].values()) or [NAN])),
            "bits equal to its product's (%)": agreement[method][0],
            "bits equal to the centre's (%)": agreement[method][1],
            "n": len(accuracy[method]),
        }
        for (name, family), agreement in zip(families.items(), equal, strict=True)
        for method, setting in family.items()
    ]


def _figures(
    families: Mapping[str, Family],
    accuracy: Mapping[str, Mapping[int, float]],
    equal: Sequence[Mapping[str, tuple[float, float]]],
    centre: str,
) -> list[Figure]:
    grid = (
        "Left the starts are in proportion to the learning rate, right they are equal. Equal products of learning rate "
        "and weight decay lie on the diagonals from lower left to upper right."
    )
    middle = next(family[centre] for family in families.values() if centre in family)
    at = f"lr {middle.lr:g}"
    means = [{m: float(np.mean(list(accuracy[m].values()) or [NAN])) for m in family} for family in families.values()]
    shares = [[{m: values[i] for m, values in agreement.items()} for agreement in equal] for i in (0, 1)]
    return [
        _heatmap(families, means, "test accuracy (%)", f"{grid} Test accuracy, mean over seeds."),
        _heatmap(
            families,
            shares[0],
            "bits equal at the end (%)",
            f"Bits equal to those of the training with the same product at {at} on its side, mean over seeds. {grid}",
        ),
        _heatmap(
            families,
            shares[1],
            "bits equal at the end (%)",
            f"Bits equal to those of one training, {at} and weight decay {middle.decay:g}, mean over seeds. {grid}",
        ),
    ]


def _heatmap(families: Mapping[str, Family], values: Sequence[Mapping[str, float]], label: str, caption: str) -> Figure:
    import pandas as pd

    rows = [
        (panel, f"{setting.decay:g}", setting.lr, value)
        for (panel, family), mine in zip(families.items(), values, strict=True)
        for method, setting in family.items()
        if np.isfinite(value := mine[method])
    ]
    data = pd.DataFrame(rows, columns=["panel", "series", "x", "y"]).assign(role="measured", low=NAN, high=NAN)
    return Figure(data, "heatmap", "learning rate (rows: weight decay)", label, caption)
