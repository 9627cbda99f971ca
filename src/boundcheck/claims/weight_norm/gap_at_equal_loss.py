"""How the generalisation gap grows with a setting, of networks that are compared at equal training loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from boundcheck.claims.shared.at_loss import TRAIN, at_level
from boundcheck.claims.shared.bound_sweep import matches
from boundcheck.claims.shared.power_law import PowerLaw, of_groups
from boundcheck.claims.shared.rows import RUN, columns_of
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.sweeps import sweep_rows
from boundcheck.contracts import NAN
from boundcheck.verdicts import Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

TEST = "test_loss"
QUANTITY = "gap at equal loss (% of its mean)"


@dataclass(frozen=True)
class GapAtEqualLoss:
    """At equal training loss the gap, test minus training loss, hardly grows with a setting.

    A longer training has the lower training loss and the larger gap, so that runs which differ in x only are compared,
    for each seed, at the least training loss that all of them reach; between the two evaluations around it a test loss
    is linear in the training loss. The slopes over log₂ x, in percent of the group's mean gap, decide as those of
    `power_law` do. A group is `inconclusive` where that loss is above `loss_at_most`, for what was hardly trained has
    no gap to compare, where a run is below it at its first evaluation, or where the interval of the mean gap over the
    seeds covers 0.

    Args:
        statement: what the paper states.
        reference: where it does.
        x: a setting of models (`width`, `depth`).
        at_most: the largest slope, in percent of the mean gap per doubling.
        loss_at_most: the largest training loss at which runs are compared.
        models: names of models; patterns are allowed.
        methods: names of methods; patterns are allowed.
    """

    statement: str
    reference: str
    x: str
    loss_at_most: float
    at_most: float = 0.0
    models: Sequence[str] = ("*",)
    methods: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        if not self.loss_at_most > 0:
            raise ValueError(f"loss_at_most: got {self.loss_at_most}; allowed: > 0")

    def decide(self, tables: Tables) -> Verdict:
        """Fit the groups that have learned enough."""
        found = self._gaps(tables)
        why = {str(group): self._why_not(part) for group, part in found.groupby("group")}
        fitted = found[found["group"].map(why) == ""]
        law = PowerLaw(
            self.statement, self.reference, self.x, QUANTITY, at_most=self.at_most,
            models=self.models, methods=self.methods, logarithmic=False,
        )  # fmt: skip
        verdict = law.decide(tables._replace(measurements=fitted))
        if not why:
            return verdict
        cells = [dict(cell) for cell in verdict.cells]
        for group in (group for group, reason in why.items() if reason):
            cells.append({"group": group, "n": int((found["group"] == group).sum()), "decision": "inconclusive"})
        for cell in cells:
            part = found[found["group"] == cell["group"]]
            cell |= {"training loss": part["level"].mean(), "mean gap": part["gap"].mean(), "why": why[cell["group"]]}
        not_fitted = [f"{group} is not compared: {reason}" for group, reason in why.items() if reason]
        reason = "; ".join([*([f"{QUANTITY}, {verdict.reason}"] if len(fitted) else []), *not_fitted])
        decision = of_groups([cell["decision"] for cell in cells])
        return replace(
            verdict, decision=decision, reason=reason, cells=cells, unit=f"% {verdict.unit}" if verdict.unit else ""
        )

    def _gaps(self, tables: Tables) -> pd.DataFrame:
        """For each run of a sweep its `group`, the common training loss `level` and the `gap`.

        The `value` of the measurement is in percent of the group's mean. A seed counts where all values of x have it.
        """
        import pandas as pd

        runs = tables.runs
        names = zip(runs["model"], runs["method"], strict=True)
        runs = runs[[matches(m, self.models) and matches(method, self.methods) for m, method in names]]
        losses = columns_of(tables.curves, [*RUN, "step", "epoch"], [TRAIN, TEST]).dropna()
        rows = sweep_rows(losses, runs, self.x).sort_values("step", kind="stable")
        found = []
        for group, of_group in rows.groupby("group"):
            for _, of_seed in of_group.groupby("seed"):
                courses = [course for _, course in of_seed.groupby([*RUN])]
                if of_seed["x"].nunique() == of_group["x"].nunique():
                    level = max(course[TRAIN].min() for course in courses)
                    at = [at_level(course, level, TEST) for course in courses]
                    found += [run | {"group": group, "level": level, "gap": run["value"] - level} for run in at]
        numbers = dict.fromkeys(("epoch", "gap", "level"), "float64")
        frame = pd.DataFrame(found, columns=[*RUN, "step", "group", *numbers]).astype(numbers)
        percent = 100 * frame["gap"] / frame.groupby("group")["gap"].transform("mean")
        return frame.assign(value=percent, quantity=QUANTITY, index=-1, analysis="", coordinate=NAN, error=NAN)

    def _why_not(self, part: pd.DataFrame) -> str:
        """Why a group is not fitted; "" where it is."""
        below = int(part["gap"].isna().sum())
        if below:
            runs = "1 run has" if below == 1 else f"{below} runs have"
            return f"{runs} a lower training loss at the first evaluation than others ever reach"
        level = part["level"].max()
        if level > self.loss_at_most:
            return f"the least training loss that all reach is {level:.3g}, above {self.loss_at_most:g}"
        mean = student_interval(part.groupby("seed")["gap"].mean())
        return "" if mean.sign > 0 else f"the mean gap is {mean.mean:.2g} [{mean.low:.2g}, {mean.high:.2g}]"
