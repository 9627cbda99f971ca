"""The claim that all measures of reconstruction say the same, with what each of them says of every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from boundcheck.claims.dag_momentum.compression import COMPONENTS, families_of, size_figure
from boundcheck.claims.shared.baselines import Pair, SelectsPairs
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, Selector, SelectsCells, cells_of, only_cells
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import UndecidableError, absent_runs
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.verdicts import Decision, Figure, Reason, Tables, Verdict, because

LEADING = "psnr_hvs_m"
LABELS = {
    LEADING: "PSNR-HVS-M (dB)",
    "psnr_hvs": "PSNR-HVS (dB)",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "mse": "MSE",
}
LOWER_IS_BETTER = ("mse",)
SIZES = {"code_size": "code size", "compression_ratio": "compression ratio", "num_parameters": "parameters"}


@settings(kw_only=True)
class MeasuresAgree(SelectsCells):
    """Where PSNR-HVS-M tells a model from another network, none of the other measures says the reverse.

    A measure tells two networks apart where the 95% interval of its paired differences over seeds excludes 0.
    `contradicted` where one says the reverse of PSNR-HVS-M of some pair, `inconclusive` where that tells no pair apart,
    else `supported`. Besides the networks of `beside` the principal components that were measured with a model
    are compared with it. The evidence is a table of all measures, their means over seeds, with the code size, the
    compression ratio (pixels over code size) and the number of parameters; it is drawn against the code size.

    Args:
        beside: selectors of models, as a comparison's `baseline_model`: each selects one network beside each model.
    """

    beside: Sequence[Selector]

    def decide(self, tables: Tables) -> Verdict:
        """Compare the sign that every other measure gives with that of the leading one."""
        try:
            pairs = self._pairs(cells_of(tables.runs))
        except UndecidableError as several:
            return Verdict("not run", [several.reason])
        networks: dict[CellKey, list[CellKey]] = {}
        for pair in (pair for of_selector in pairs for pair in of_selector):
            networks.setdefault(pair.cell, []).extend([pair.baseline] if pair.baseline else [])
        tables = only_cells(tables, {key for model, others in networks.items() for key in (model, *others)})
        values, absent = _values(tables), absent_runs(tables.runs)
        evidence: list[dict[str, Any]] = []
        answers: list[Mapping[str, int]] = []
        num_pairs = []
        for model in (model for model in networks if model in values):
            own = values[model]
            cell = {"dataset": model[0], "method": model[2]}
            evidence.append({**cell, **_row(model[1], own)})
            beside = {key[1]: values[key] for key in networks[model] if key in values} | _components(own)
            for name, other in beside.items():
                said = _signs(own, other)
                signs = list(said.values())
                verdict = f"better by {signs.count(1)}, worse by {signs.count(-1)} of {len(signs)} measures"
                evidence.append({**cell, **_row(name, other), "model against it": verdict})
                answers.append(said)
                num_pairs.append(len(own.index.intersection(other.index)))
        if not answers:
            return Verdict("not run", [because("no_measures"), *absent])
        decision, reasons = _decided(answers)
        figures = _figures(tables, pairs)
        return Verdict(decision, [*reasons, *absent], num_runs=min(num_pairs), cells=evidence, figures=figures)

    def _pairs(self, cells: Cells) -> list[list[Pair]]:
        """Of each selector of networks the models with the one beside each.

        Raises:
            UndecidableError: a selector selects more than one.
        """
        chosen = {field.name: getattr(self, field.name) for field in fields(SelectsCells)}
        return [
            SelectsPairs(**chosen, baseline_model=selector, baseline_roles=self.roles).pairs(cells)
            for selector in self.beside
        ]


def _values(tables: Tables) -> dict[CellKey, pd.DataFrame]:
    """By cell: what was measured at the last snapshot, a row per seed."""
    names = [*SIZES, *LABELS, *(f"pca_{name}" for name in LABELS)]
    rows = tables.measurements[tables.measurements["quantity"].isin(names)]
    rows = rows.merge(tables.runs.loc[tables.runs["status"] == "done", list(RUN)], on=list(RUN))
    by_cell: dict[CellKey, pd.DataFrame] = {}
    keys: Any
    for keys, part in rows.groupby(list(CELL)):
        last = part.sort_values("step", kind="stable").groupby(["seed", "quantity"])["value"].last()
        by_cell[keys] = last.unstack("quantity").reindex(columns=names)
    return by_cell


def _components(own: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What was measured of the principal components beside a model."""
    values = own.assign(**{name: own[f"pca_{name}"] for name in LABELS}, num_parameters=NAN)
    return {COMPONENTS: values} if values[list(LABELS)].notna().any(axis=None) else {}


def _row(name: str, values: pd.DataFrame) -> dict[str, Any]:
    means = {label: float(values[quantity].mean()) for quantity, label in (SIZES | LABELS).items()}
    return {"network": name, **means, "n": len(values)}


def _signs(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, int]:
    """What each measure says of a model beside another network: +1 better, −1 worse, 0 undecided."""
    signs = {}
    for measure in LABELS:
        differences = (own[measure] - other[measure]).dropna()
        if len(differences):
            sign = student_interval(differences.to_numpy()).sign
            signs[measure] = -sign if measure in LOWER_IS_BETTER else sign
    return signs


def _decided(answers: Sequence[Mapping[str, int]]) -> tuple[Decision, list[Reason]]:
    led = [said for said in answers if said.get(LEADING, 0)]
    others = [sign * said[LEADING] for said in led for measure, sign in said.items() if measure != LEADING]
    leading = LABELS[LEADING].removesuffix(" (dB)")
    apart = because("pairs_apart", measure=leading, num=len(led), num_pairs=len(answers))
    if not led:
        return "inconclusive", [apart]
    agree, undecided, reverse = (others.count(sign) for sign in (1, 0, -1))
    counts = because("answers_agree", num=len(others), agree=agree, undecided=undecided, reverse=reverse)
    return ("contradicted" if reverse else "supported"), [apart, counts]


def _figures(tables: Tables, pairs: Sequence[Sequence[Pair]]) -> list[Figure]:
    models = {pair.cell[1] for of_selector in pairs for pair in of_selector}
    beside = [{pair.baseline[1] for pair in of_selector if pair.baseline} for of_selector in pairs]
    figure = size_figure(tables.measurements, "code_size", LABELS, families_of(models, *beside))
    return [] if figure is None else [figure]
