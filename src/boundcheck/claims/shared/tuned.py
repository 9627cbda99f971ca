"""Claims of equivalence: a number is the same as another group's within a margin, each method at its best setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boundcheck.claims.shared.figures import interval_figure
from boundcheck.claims.shared.pairs import absences, matching, run_values
from boundcheck.claims.shared.statistics import Interval, pool, student_interval
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

BySeed = dict[int, float]


@dataclass(frozen=True)
class SimilarWhenTuned:
    """A group of methods is within a margin of others at equal dataset, model and seed, each at its best setting.

    The best setting of a group is chosen for each seed by the other seeds (leave one out), so that no seed chooses the
    setting that it is judged by. The differences of the others, one per seed, pooled over the cells, decide:
    `supported` where the 95% interval of every group lies within ±margin (or, `at_least`, above −margin),
    `contradicted` where one lies beyond, otherwise `inconclusive`. The effect is the least favourable difference, that
    of the reference group from the group which the unit names. Diverged settings lose.

    Args:
        statement: what the paper states.
        reference: where it does.
        quantity: a quantity of the curves, its last value counts.
        groups: names of methods (patterns are allowed) by the name of their group.
        reference_group: the group that the others are compared with.
        margin: the largest difference that counts as none, in the unit of the scaled values.
        at_least: whether the reference group may be better than the others by any amount.
        scale: what values are multiplied by (100: accuracies in points).
        unit: of the scaled values.
        higher_is_better: what best means.
        paper_value: the paper's own figure, where one is sourced.
    """

    statement: str
    reference: str
    quantity: str
    groups: Mapping[str, Sequence[str]]
    reference_group: str
    margin: float
    at_least: bool = False
    scale: float = 1.0
    unit: str = ""
    higher_is_better: bool = True
    paper_value: str = "not available"

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ValueError(f"margin: got {self.margin}; allowed: > 0")
        if len(self.groups) < 2 or self.reference_group not in self.groups:
            allowed = f"two or more groups, one of them the reference {self.reference_group!r}"
            raise ValueError(f"groups: got {', '.join(self.groups) or 'none'}; allowed: {allowed}")
        if any(isinstance(patterns, str) or not patterns for patterns in self.groups.values()):
            raise ValueError("groups: allowed: a list of names for each")

    @property
    def methods(self) -> list[str]:
        """Every pattern, for the check of names."""
        return [pattern for patterns in self.groups.values() for pattern in patterns]

    def decide(self, tables: Tables) -> Verdict:
        """Tune each group, compare with the reference group."""
        values = self._values(tables)
        tuned = {cell: {name: self._tuned(found) for name, found in groups.items()} for cell, groups in values.items()}
        others = [name for name in self.groups if name != self.reference_group]
        sign = 1 if self.higher_is_better else -1
        pooled: dict[str, Interval] = {}
        rows: list[dict[str, Any]] = []
        for name in others:
            by_cell = []
            for (dataset, model), groups in tuned.items():
                mine, base = groups.get(name, {}), groups.get(self.reference_group, {})
                differences = {seed: sign * (base[seed] - mine[seed]) for seed in mine.keys() & base.keys()}
                if differences:
                    by_cell.append(differences)
                    rows.append(self._row(dataset, model, name, values[dataset, model], groups, differences))
            if by_cell:
                pooled[name] = student_interval(list(pool(by_cell).values()))
        if not pooled:
            planned = matching(list(tables.runs["method"].unique()), self.methods)
            absent = absences(tables.runs[tables.runs["method"].isin(planned)])
            reason = absent or "no two groups were run on one dataset and model"
            return Verdict("not run", reason, paper_value=self.paper_value)
        decision, reason = self._decision(pooled)
        against, worst = min(pooled.items(), key=lambda item: item[1].mean if self.at_least else -abs(item[1].mean))
        return Verdict(
            decision,
            reason,
            worst.mean,
            worst.low,
            worst.high,
            unit=f"{self.unit} from {against}".strip(),
            num_runs=worst.num,
            paper_value=self.paper_value,
            cells=rows,
            figures=[self._figure(rows, pooled)],
        )

    def _figure(self, rows: Sequence[Mapping[str, Any]], pooled: Mapping[str, Interval]) -> Figure:
        is_tuned = any(row["settings"] > 1 or row[f"settings of {self.reference_group}"] > 1 for row in rows)
        best = ", both at their best settings (chosen by the other seeds)" if is_tuned else ""
        others = "other, tuned" if is_tuned else "other"
        label = f"{self.reference_group} − {others}: {self.quantity.replace('_', ' ')} ({self.unit})"
        caption = (
            f"Difference of {self.reference_group} from each other method{best}: mean over seeds and its 95% interval; "
            f"the margin is {'−' if self.at_least else '±'}{self.margin:g}."
        )
        evidence = [*rows, *({"method": f"pooled, {n}", **_interval(i)} for n, i in pooled.items())]
        return interval_figure(evidence, label, caption)

    def _values(self, tables: Tables) -> dict[tuple[str, str], dict[str, dict[str, BySeed]]]:
        """(dataset, model) -> group -> method -> seed -> value."""
        names = {group: matching(list(tables.runs["method"].unique()), p) for group, p in self.groups.items()}
        all_names = [name for found in names.values() for name in found]
        runs: pd.DataFrame = tables.runs[tables.runs["method"].isin(all_names)]
        rows = tables.curves[(tables.curves["quantity"] == self.quantity) & tables.curves["method"].isin(all_names)]
        found: dict[tuple[str, str], dict[str, dict[str, BySeed]]] = {}
        for (dataset, model, method, seed), value in run_values(rows, runs, "last", self.higher_is_better).items():
            for group, methods in names.items():
                if method in methods:
                    cell = found.setdefault((dataset, model), {}).setdefault(group, {})
                    cell.setdefault(method, {})[seed] = self.scale * value
        return found

    def _tuned(self, methods: dict[str, BySeed]) -> BySeed:
        """By seed, the value of the setting that is best on the other seeds."""
        seeds = sorted(set().union(*methods.values()))
        whole = {name: by_seed for name, by_seed in methods.items() if len(by_seed) == len(seeds)} or methods
        best = max if self.higher_is_better else min
        tuned = {}
        for seed in seeds:
            means = {name: self._mean_without(by_seed, seed) for name, by_seed in whole.items() if seed in by_seed}
            if means:
                tuned[seed] = whole[best(means, key=lambda name: means[name])][seed]
        return tuned

    @staticmethod
    def _mean_without(by_seed: BySeed, seed: int) -> float:
        others = [value for other, value in by_seed.items() if other != seed]
        return math.fsum(others) / len(others) if others else by_seed[seed]

    def _row(
        self, dataset: str, model: str, name: str, values: Any, groups: Mapping[str, BySeed], differences: BySeed
    ) -> dict[str, Any]:
        interval = student_interval(list(differences.values()))
        mean = {group: math.fsum(by_seed.values()) / len(by_seed) for group, by_seed in groups.items() if by_seed}
        return {
            "dataset": dataset,
            "model": model,
            "method": name,
            "settings": len(values[name]),
            f"settings of {self.reference_group}": len(values[self.reference_group]),
            "value": mean[name],
            f"value of {self.reference_group}": mean[self.reference_group],
            **_interval(interval),
            "n": interval.num,
        }

    def _decision(self, pooled: Mapping[str, Interval]) -> tuple[Decision, str]:
        inside = [n for n, i in pooled.items() if i.low >= -self.margin and (self.at_least or i.high <= self.margin)]
        beyond = [n for n, i in pooled.items() if i.high < -self.margin or (not self.at_least and i.low > self.margin)]
        margin = f"{self.margin:g} {self.unit}".strip()
        relation = f"at most {margin} worse than" if self.at_least else f"within ±{margin} of"
        reason = f"{self.reference_group} is {relation} {', '.join(inside) or 'none of the others'}"
        if beyond:
            return "contradicted", f"{reason}; beyond it: {', '.join(beyond)}"
        undecided = [name for name in pooled if name not in inside]
        if undecided:
            return "inconclusive", f"{reason}; the interval crosses the margin for {', '.join(undecided)}"
        return "supported", reason


def _interval(interval: Interval) -> dict[str, float]:
    return {"effect": round(interval.mean, 9) + 0.0, "low": interval.low, "high": interval.high}
