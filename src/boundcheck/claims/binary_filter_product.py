"""Learning rate and weight decay of latent weights act through their product: the grid of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.bit_comparisons import Comparison, comparisons
from boundcheck.claims.pairs import absences, matching, run_values
from boundcheck.claims.statistics import student_interval
from boundcheck.contracts import NAN
from boundcheck.verdicts import Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ActThroughProduct:
    """Trainings with equal lr·weight_decay have equal bits where w_0/lr is equal too, and only there.

    `supported` where no bit of any two such trainings of equal product and equal w_0/lr differs at any recorded step,
    while those of unequal products do. The effect is the largest difference of accuracy between trainings of equal
    product whose start is not in proportion to the learning rate: how much the start alone matters.

    Args:
        statement: what the paper states.
        reference: where it does.
        proportional: methods of the grid whose `init_scale` is in proportion to lr; patterns are allowed.
        fixed: methods of the grid with one `init_scale`.
        reference_lr: the lr that the agreement of bits is measured against.
    """

    statement: str
    reference: str
    proportional: Sequence[str]
    fixed: Sequence[str]
    reference_lr: float

    def __post_init__(self) -> None:
        if not self.reference_lr > 0:
            raise ValueError(f"reference_lr: got {self.reference_lr}; allowed: > 0")

    @property
    def methods(self) -> list[str]:
        """Every pattern, for the check of names."""
        return [*self.proportional, *self.fixed]

    def decide(self, tables: Tables) -> Verdict:
        """Compare all cells of equal product."""
        specs = tables.runs[tables.runs["status"] == "done"].drop_duplicates("method").set_index("method")
        families = {
            "w₀ ∝ lr": self._family(specs, self.proportional),
            "w₀ fixed": self._family(specs, self.fixed),
        }
        agreement = {name: self._agreement(tables, family) for name, family in families.items()}
        if not all(agreement.values()):
            planned = matching(list(tables.runs["method"].unique()), self.methods)
            absent = absences(tables.runs[tables.runs["method"].isin(planned)])
            return Verdict("not run", absent or "the grid has no two cells of equal product")
        wrong = sum(c.mismatches for c in agreement["w₀ ∝ lr"])
        accuracy = self._accuracy(tables, families)
        spread = {name: _spread(family, accuracy) for name, family in families.items()}
        interval = student_interval(list(spread["w₀ fixed"].values()))
        differing = 100 * float(np.mean([c.differing[-1] for c in agreement["w₀ fixed"]]))
        num = len(agreement["w₀ ∝ lr"])
        reason = (
            f"{wrong} bits differ between {num} pairs of runs with equal product and equal w₀/lr; at one fixed w₀, "
            f"{differing:.3g}% of the bits differ at the end and accuracies by up to {interval.mean:.3g} points"
        )
        return Verdict(
            "supported" if wrong == 0 else "contradicted",
            reason,
            interval.mean,
            interval.low,
            interval.high,
            unit="points at one fixed w₀",
            num_runs=interval.num,
            cells=self._cells(families, accuracy, agreement),
            figures=self._figures(families, accuracy, agreement),
        )

    def _family(self, specs: pd.DataFrame, patterns: Sequence[str]) -> dict[str, tuple[float, float]]:
        """(lr, weight decay) of each method."""
        names = matching(list(specs.index), patterns)
        return {name: (specs["method_spec"][name]["lr"], specs["method_spec"][name]["weight_decay"]) for name in names}

    def _agreement(self, tables: Tables, family: dict[str, tuple[float, float]]) -> list[Comparison]:
        """Each cell beside that of the reference learning rate with the same product."""
        pairs = []
        for name, (lr, decay) in family.items():
            for other, (other_lr, other_decay) in family.items():
                is_reference = np.isclose(other_lr, self.reference_lr) and not np.isclose(lr, other_lr)
                if is_reference and np.isclose(lr * decay, other_lr * other_decay):
                    pairs.append((name, other))
        return list(comparisons(tables, pairs)) if pairs else []

    def _accuracy(self, tables: Tables, families: dict[str, Any]) -> dict[str, dict[int, float]]:
        names = {name for family in families.values() for name in family}
        runs = tables.runs[tables.runs["method"].isin(names)]
        rows = tables.curves[(tables.curves["quantity"] == "test_accuracy") & tables.curves["method"].isin(names)]
        found: dict[str, dict[int, float]] = {name: {} for name in names}
        for (_, _, method, seed), value in run_values(rows, runs, "last", True).items():
            found[method][seed] = 100 * value
        return found

    def _cells(self, families: Any, accuracy: Any, agreement: dict[str, list[Comparison]]) -> list[dict[str, Any]]:
        rows = []
        for name, family in families.items():
            for method, (lr, decay) in family.items():
                mine = [c for c in agreement[name] if c.pair[0] == method]
                rows.append(
                    {
                        "method": method,
                        "start": name,
                        "lr": lr,
                        "weight decay": decay,
                        "product": lr * decay,
                        "accuracy (%)": float(np.mean(list(accuracy[method].values()) or [NAN])),
                        "bits equal at the end (%)": 100 * (1 - float(np.mean([c.differing[-1] for c in mine])))
                        if mine
                        else 100.0,
                        "n": len(accuracy[method]),
                    }
                )
        return rows

    def _figures(self, families: Any, accuracy: Any, agreement: dict[str, list[Comparison]]) -> list[Figure]:
        accuracies = {m: float(np.mean(list(by_seed.values()) or [NAN])) for m, by_seed in accuracy.items()}
        equal = {}
        for name, family in families.items():
            for method, (lr, _) in family.items():
                mine = [c.differing[-1] for c in agreement[name] if c.pair[0] == method]
                if mine or np.isclose(lr, self.reference_lr):
                    equal[method] = 100 * (1 - float(np.mean(mine))) if mine else 100.0
        caption = "Learning rate by weight decay; equal products lie on the diagonals from lower left to upper right. "
        return [
            _heatmap(families, accuracies, "test accuracy (%)", caption + "Test accuracy, mean over seeds."),
            _heatmap(
                families,
                equal,
                "bits equal at the end (%)",
                f"{caption}Bits equal to those of the cell with the same product at lr {self.reference_lr:g}.",
            ),
        ]


def _spread(family: dict[str, tuple[float, float]], accuracy: dict[str, dict[int, float]]) -> dict[int, float]:
    """By seed, the largest difference of accuracy between methods of equal product."""
    by_product: dict[float, list[str]] = {}
    for name, (lr, decay) in family.items():
        by_product.setdefault(float(f"{lr * decay:.6g}"), []).append(name)
    spreads: dict[int, float] = {}
    for names in by_product.values():
        seeds = set.intersection(*(set(accuracy[name]) for name in names))
        for seed in seeds:
            values = [accuracy[name][seed] for name in names]
            spreads[seed] = max(spreads.get(seed, 0.0), max(values) - min(values))
    return spreads


def _heatmap(families: Any, values: dict[str, float], label: str, caption: str) -> Figure:
    import pandas as pd

    rows = [
        (panel, f"{decay:g}", lr, values[method])
        for panel, family in families.items()
        for method, (lr, decay) in sorted(family.items(), key=lambda item: item[1][1])
        if method in values
    ]
    data = pd.DataFrame(rows, columns=["panel", "series", "x", "y"]).assign(role="measured", low=NAN, high=NAN)
    return Figure(data, "heatmap", "learning rate (rows: weight decay)", label, caption)
