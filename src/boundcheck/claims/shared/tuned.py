"""Claims of equivalence: a number is the same as another group's within a margin, each group at its best setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, ClassVar

from boundcheck.claims.shared.decision import side_of_range
from boundcheck.claims.shared.figures import in_words, interval_figure
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, Selector, SelectsCells, cells_of, matches
from boundcheck.claims.shared.statistics import Interval, pool, student_interval
from boundcheck.claims.shared.values import absent_runs, quantity_rows, values_by_cell
from boundcheck.settings import Positive, settings
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because

BySeed = dict[int, float]
Groups = dict[str, dict[str, BySeed]]  # by group, then by method
Network = tuple[str, str]  # dataset and model


@settings(kw_only=True)
class SimilarWhenTuned(SelectsCells):
    """A group of methods is within a margin of others at equal dataset, model and seed, each at its best setting.

    The best setting of a group is chosen for each seed by the other seeds (leave one out), so that no seed chooses the
    setting that it is judged by. The differences of the others, one per seed, pooled over the networks, decide:
    `supported` where the 95% interval of every group lies within ±margin (or, `at_least`, above −margin),
    `contradicted` where one lies beyond, otherwise `inconclusive`. The effect is the least favourable difference, that
    of the reference group from the group which the unit names. Diverged settings lose.

    Args:
        quantity: a quantity of the curves, its last value counts.
        groups: selectors of methods by the name of their group.
        reference_group: the group that the others are compared with.
        margin: the largest difference that counts as none, in the unit of the scaled values.
        at_least: whether the reference group may be better than the others by any amount.
        scale: what values are multiplied by (100: accuracies in points).
        unit: of the scaled values.
        higher_is_better: what best means.
    """

    quantity: str
    groups: Mapping[str, Selector]
    reference_group: str
    margin: Positive
    at_least: bool = False
    scale: Positive = 1.0
    unit: str = ""
    higher_is_better: bool = True

    source: ClassVar[str] = "curves"

    def __post_init__(self) -> None:
        if len(self.groups) < 2 or self.reference_group not in self.groups:
            allowed = f"two or more groups, one of them the reference {self.reference_group!r}"
            raise ValueError(f"groups: got {', '.join(self.groups) or 'none'}; allowed: {allowed}")

    def chosen(self, cells: Cells) -> list[CellKey]:
        """The selected cells of all groups, sorted."""
        return [key for key in super().chosen(cells) if self._groups_of(key, cells)]

    def why_never(self, cells: Cells) -> list[Reason]:
        """A reason if no dataset and model has two groups to compare."""
        beside: dict[Network, set[str]] = {}
        for key in cells:
            beside.setdefault(key[:2], set()).update(self._groups_of(key, cells))
        is_compared = any(self.reference_group in groups and len(groups) > 1 for groups in beside.values())
        return [] if is_compared else [because("no_two_groups")]

    def decide(self, tables: Tables) -> Verdict:
        """Tune each group, then compare it with the reference group."""
        values = self._values(tables)
        tuned = {
            network: {name: self._tuned(methods) for name, methods in groups.items()}
            for network, groups in values.items()
        }
        rows: list[dict[str, Any]] = []
        pooled: dict[str, Interval] = {}
        for name in (group for group in self.groups if group != self.reference_group):
            of_networks = ((network, self._differences(groups, name)) for network, groups in tuned.items())
            differences = {network: by_seed for network, by_seed in of_networks if by_seed}
            if differences:
                pooled[name] = student_interval(list(pool(list(differences.values())).values()))
            for network, by_seed in differences.items():
                cell, interval = dict(zip(CELL, (*network, name), strict=True)), student_interval([*by_seed.values()])
                rows.append({**cell, **self._row(name, values[network], tuned[network]), **_rounded(interval)})
        if not rows:
            return Verdict("not run", absent_runs(self.only(tables).runs) or [because("no_two_groups")])
        decision, reason = self._decision(pooled)
        against, worst = min(pooled.items(), key=lambda item: item[1].mean if self.at_least else -abs(item[1].mean))
        return Verdict(
            decision,
            [reason],
            **worst.as_effect(f"{self.unit} from {against}".strip()),
            cells=rows,
            figures=[self._figure(rows, pooled)],
        )

    def _groups_of(self, key: CellKey, cells: Cells) -> list[str]:
        return [name for name, selector in self.groups.items() if matches(selector, cells[key]["method"])]

    def _values(self, tables: Tables) -> dict[Network, Groups]:
        """By network, then by group, then by method, then by seed."""
        tables = self.only(tables)
        cells, rows = cells_of(tables.runs), quantity_rows(tables, "curves", self.quantity)
        values: dict[Network, Groups] = {}
        for key, by_seed in sorted(values_by_cell(rows, tables.runs, "last").items()):
            for group in self._groups_of(key, cells):
                of_group = values.setdefault(key[:2], {}).setdefault(group, {})
                of_group[key[2]] = {seed: self.scale * value for seed, value in by_seed.items()}
        return values

    def _tuned(self, methods: dict[str, BySeed]) -> BySeed:
        """By seed, the value of the setting that is best on the other seeds."""
        seeds = sorted(set().union(*methods.values()))
        complete = {name: by_seed for name, by_seed in methods.items() if len(by_seed) == len(seeds)} or methods
        best = max if self.higher_is_better else min
        tuned = {}
        for seed in seeds:
            means = {name: _mean_without(by_seed, seed) for name, by_seed in complete.items() if seed in by_seed}
            if means:
                tuned[seed] = complete[best(means, key=lambda name: means[name])][seed]
        return tuned

    def _differences(self, tuned: Mapping[str, BySeed], name: str) -> BySeed:
        """By common seed, by how much the reference group is better than this other one."""
        mine, reference = tuned.get(name, {}), tuned.get(self.reference_group, {})
        sign = 1 if self.higher_is_better else -1
        return {seed: sign * (reference[seed] - mine[seed]) for seed in sorted(mine.keys() & reference.keys())}

    def _decision(self, pooled: Mapping[str, Interval]) -> tuple[Decision, Reason]:
        most = math.inf if self.at_least else self.margin
        sides = {name: side_of_range(*interval[1:3], -self.margin, most) for name, interval in pooled.items()}
        margin = f"{self.margin:g} {self.unit}".strip()
        reason = because(
            "within_margin",
            reference=self.reference_group,
            margin=margin,
            at_least=self.at_least,
            inside=[name for name, side in sides.items() if side == "supported"],
            beyond=[name for name, side in sides.items() if side == "contradicted"],
            undecided=[name for name, side in sides.items() if side == "inconclusive"],
        )
        worst_first: Sequence[Decision] = ("contradicted", "inconclusive", "supported")
        return next(side for side in worst_first if side in sides.values()), reason

    def _row(self, name: str, groups: Groups, tuned: Mapping[str, BySeed]) -> dict[str, float]:
        """The numbers of settings and the values of a group and of the reference group, at their best."""
        reference = self.reference_group
        return {
            "settings": len(groups[name]),
            f"settings of {reference}": len(groups[reference]),
            "value": fmean(tuned[name].values()),
            f"value of {reference}": fmean(tuned[reference].values()),
        }

    def _figure(self, rows: Sequence[Mapping[str, Any]], pooled: Mapping[str, Interval]) -> Figure:
        is_tuned = any(row["settings"] > 1 or row[f"settings of {self.reference_group}"] > 1 for row in rows)
        best = ", both at their best settings (chosen by the other seeds)" if is_tuned else ""
        others = "other, tuned" if is_tuned else "other"
        label = f"{self.reference_group} − {others}: {in_words(self.quantity)} ({self.unit})"
        caption = (
            f"Difference of {self.reference_group} from each other method{best}: mean over seeds and its 95% interval; "
            f"the margin is {'−' if self.at_least else '±'}{self.margin:g}."
        )
        evidence = [*rows, *({"method": f"pooled, {n}", **_rounded(i)} for n, i in pooled.items())]
        return interval_figure(evidence, label, caption)


def _mean_without(by_seed: BySeed, seed: int) -> float:
    others = [value for other, value in by_seed.items() if other != seed]
    return fmean(others) if others else by_seed[seed]


def _rounded(interval: Interval) -> dict[str, float]:
    return {**interval.as_evidence(), "effect": round(interval.mean, 9) + 0.0}
