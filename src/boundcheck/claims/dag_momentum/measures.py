"""The claim that all measures of reconstruction say the same, with what each of them says of every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from boundcheck.claims.dag_momentum.pictures import measures_figure
from boundcheck.claims.dag_momentum.steps import joined
from boundcheck.claims.shared.pairs import absences, matching
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.contracts import NAN
from boundcheck.verdicts import Decision, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

LABELS = {
    "psnr_hvs_m": "PSNR-HVS-M (dB)",
    "psnr_hvs": "PSNR-HVS (dB)",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "mse": "MSE",
}
LOWER_IS_BETTER = ("mse",)
SIZES = {"code_size": "code size", "compression_ratio": "compression ratio", "num_parameters": "parameters"}
COMPONENTS = "principal components"


class Answers(NamedTuple):
    """What the measures say of a model beside another network: +1 better, −1 worse, 0 undecided, by measure."""

    by_measure: Mapping[str, int]
    num_pairs: int


@dataclass(frozen=True)
class MeasuresAgree:
    """Where `leading` tells a model from another network, none of the other measures says the reverse.

    A measure tells two networks apart where the 95% interval of its paired differences over seeds excludes 0.
    `contradicted` where one says the reverse of `leading` of some pair, `inconclusive` where `leading` tells no pair
    apart, else `supported`. The evidence is a table of all measures, their means over seeds, with the code size, the
    compression ratio (pixels over code size) and the number of parameters; it is drawn against the code size.

    Args:
        statement: what is stated.
        reference: where it is.
        twins: of each model the networks beside it, by name; `self` stands for its principal components.
        methods: names of methods; patterns are allowed.
        leading: the measure that the others are held against.
        measures: which measures.
    """

    statement: str
    reference: str
    twins: Mapping[str, Sequence[str]]
    methods: Sequence[str] = ("*",)
    leading: str = "psnr_hvs_m"
    measures: Sequence[str] = tuple(LABELS)

    def __post_init__(self) -> None:
        if not isinstance(self.twins, Mapping) or not self.twins:
            raise ValueError(f"twins: got {self.twins!r}; allowed: a mapping of models to lists of networks")
        for model, others in self.twins.items():
            if isinstance(others, str) or not others:
                raise ValueError(f"twins: got {others!r} for {model}; allowed: a list of names, at least one")
        if {self.leading, *self.measures} - set(LABELS) or self.leading not in self.measures:
            allowed = f"{', '.join(LABELS)}, the leading one among them"
            raise ValueError(f"measures: got {', '.join(self.measures)}; allowed: {allowed}")

    def decide(self, tables: Tables) -> Verdict:
        """Hold every measure against the leading one."""
        methods = matching(list(tables.runs["method"].unique()), self.methods, "")
        absent = absences(tables.runs[tables.runs["method"].isin(methods)])
        found = self._values(tables, methods)
        evidence: list[dict[str, Any]] = []
        answers: list[Answers] = []
        for dataset, method in sorted({key[:2] for key in found}):
            for model, others in self.twins.items():
                if (dataset, method, model) in found:
                    beside = {name: found.get((dataset, method, name)) for name in (model, *others)}
                    rows, said = self._beside(model, beside)
                    evidence += [{"dataset": dataset, "method": method, **row} for row in rows]
                    answers += said
        if not answers:
            return Verdict("not run", joined("no two networks have measures to compare", absent))
        decision, reason = self._decided(answers)
        names = {*self.twins, *(name for others in self.twins.values() for name in others)}
        measured = tables.measurements
        measured = measured[measured["method"].isin(methods) & measured["model"].isin(names)]
        figure = measures_figure(measured, "code_size", {name: LABELS[name] for name in self.measures}, self.twins)
        return Verdict(
            decision,
            joined(reason, absent),
            num_runs=min(said.num_pairs for said in answers),
            cells=evidence,
            figures=[] if figure is None else [figure],
        )

    def _values(self, tables: Tables, methods: Sequence[str]) -> dict[tuple[str, str, str], pd.DataFrame]:
        """By dataset, method and network: what was measured at the last snapshot, a row per seed."""
        names = [*SIZES, *self.measures, *(f"pca_{name}" for name in self.measures)]
        rows = tables.measurements
        rows = rows[rows["quantity"].isin(names) & rows["method"].isin(methods)]
        rows = rows.merge(tables.runs.loc[tables.runs["status"] == "done", list(RUN)], on=list(RUN))
        found = {}
        for (dataset, method, model), part in rows.groupby(["dataset", "method", "model"]):
            last = part.sort_values("step", kind="stable").groupby(["seed", "quantity"])["value"].last()
            found[str(dataset), str(method), str(model)] = last.unstack("quantity").reindex(columns=names)
        return found

    def _beside(
        self, model: str, values: Mapping[str, pd.DataFrame | None]
    ) -> tuple[list[dict[str, Any]], list[Answers]]:
        """The evidence of a model and of the networks beside it, and what the measures say of each pair."""
        own: Any = values[model]
        components = own.assign(**{name: own[f"pca_{name}"] for name in self.measures}, num_parameters=NAN)
        rows, answers = [self._row(model, own)], []
        for name, other in values.items():
            other = components if name == "self" else other
            if name == model or other is None:
                continue
            answers.append(self._compared(own, other))
            signs = list(answers[-1].by_measure.values())
            said = f"better by {signs.count(1)}, worse by {signs.count(-1)} of {len(signs)} measures"
            rows.append({**self._row(COMPONENTS if name == "self" else name, other), "model against it": said})
        return rows, answers

    def _row(self, name: str, values: pd.DataFrame) -> dict[str, Any]:
        labels = {**SIZES, **{measure: LABELS[measure] for measure in self.measures}}
        means = {label: float(values[quantity].mean()) for quantity, label in labels.items()}
        return {"network": name, **means, "n": len(values)}

    def _compared(self, own: pd.DataFrame, other: pd.DataFrame) -> Answers:
        seeds = own.index.intersection(other.index)
        signs = {}
        for measure in self.measures:
            differences = (own.loc[seeds, measure] - other.loc[seeds, measure]).dropna()
            if len(differences):
                sign = student_interval(differences.to_numpy()).sign
                signs[measure] = -sign if measure in LOWER_IS_BETTER else sign
        return Answers(signs, len(seeds))

    def _decided(self, answers: Sequence[Answers]) -> tuple[Decision, str]:
        led = [said.by_measure for said in answers if said.by_measure.get(self.leading, 0)]
        others = [
            sign * said[self.leading] for said in led for measure, sign in said.items() if measure != self.leading
        ]
        agree, undecided, reverse = (others.count(sign) for sign in (1, 0, -1))
        reason = f"{LABELS[self.leading].removesuffix(' (dB)')} tells {len(led)} of {len(answers)} pairs apart"
        if not led:
            return "inconclusive", reason
        reason += (
            f"; of the {len(others)} answers of the other measures to these pairs {agree} agree, {undecided} are "
            f"undecided and {reverse} say the reverse"
        )
        return ("contradicted" if reverse else "supported"), reason
