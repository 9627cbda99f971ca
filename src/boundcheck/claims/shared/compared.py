"""The values that a comparison decides from: of the compared cells and of their baselines, a number per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from boundcheck.claims.shared.at_loss import TRAIN, at_common_loss
from boundcheck.claims.shared.baselines import Pair
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CellKey, cells_of, only_cells, rows_of
from boundcheck.claims.shared.shortfall import directions, measuring_reasons, moved
from boundcheck.claims.shared.values import ByCell, quantity_rows, require_one_value, values_by_cell
from boundcheck.verdicts import Reason, Tables, because

if TYPE_CHECKING:
    from boundcheck.claims.shared.comparison import Comparison


@dataclass(frozen=True)
class Compared:
    """What a comparison decides from."""

    pairs: Sequence[Pair]  # at least one
    tables: Tables  # of the compared cells and their baselines
    rows: pd.DataFrame  # tidy rows of the quantity, in the course of training
    values: ByCell
    baseline_values: ByCell
    reasons: Sequence[Reason] = ()  # what a reader must know besides
    losses: ByCell | None = None  # the training losses at which cells are compared
    moved: Sequence[tuple[ByCell, ByCell]] = ()  # values and baseline values, one of them with what ascents missed

    def common_seeds(self, pair: Pair) -> dict[int, tuple[float, float]]:
        """By seed that both have, the value of the cell and that of its baseline."""
        if pair.baseline is None:
            return {}
        mine, base = self.values.get(pair.cell, {}), self.baseline_values.get(pair.baseline, {})
        return {seed: (mine[seed], base[seed]) for seed in sorted(mine.keys() & base.keys())}

    def num_diverged(self, pair: Pair) -> int:
        """How many runs of a cell and of its baseline diverged."""
        return int((rows_of(self.tables.runs, pair.cells)["status"] == "diverged").sum())


def compare(tables: Tables, pairs: Sequence[Pair], claim: Comparison) -> Compared:
    """The values of the cells and of their baselines.

    Raises:
        UndecidableError: a run has several values at one step.
    """
    tables = only_cells(tables, {key for pair in pairs for key in pair.cells})
    names = (claim.quantity, claim.baseline_quantity or claim.quantity)
    sides = [quantity_rows(tables, claim.source, name, claim.analysis, claim.coordinate) for name in names]
    drawn, losses = sides[0], None
    if claim.counts_steps:
        levels = levels_of(claim, tables)
        sides = [steps_to_level(rows, levels, of_first=claim.until_share is not None) for rows in sides]
    if claim.at_equal_loss:
        sides[0], losses = _at_equal_loss(drawn, tables, pairs)
        sides[1] = sides[0]
    elif claim.loss_at_most is not None:
        losses = values_by_cell(quantity_rows(tables, "curves", TRAIN), tables.runs, claim.at)
    values = [values_by_cell(rows, tables.runs, claim.at, claim.favoured_sign > 0) for rows in sides]
    if claim.baseline_value is not None:
        values[1] = {key: dict.fromkeys(by_seed, claim.baseline_value) for key, by_seed in values[0].items()}
    compared = Compared(pairs, tables, drawn, values[0], values[1], losses=losses)
    if claim.source == "measurements":
        compared = _with_shortfalls(compared, sides, names, claim)
    return _with_unreached(compared, sides, claim) if claim.counts_steps else compared


def levels_of(claim: Comparison, tables: Tables) -> dict[str, float]:
    """By dataset its level, or share of the first value; datasets of kinds without a level are left out."""
    kinds = {key[0]: cell["dataset"]["kind"] for key, cell in cells_of(tables.runs).items()}
    if isinstance(claim.until_level, Mapping):
        return {name: claim.until_level[kind] for name, kind in kinds.items() if kind in claim.until_level}
    level = claim.until_level if claim.until_share is None else claim.until_share
    return {} if level is None else dict.fromkeys(kinds, level)


def steps_to_level(rows: pd.DataFrame, levels: Mapping[str, float], of_first: bool = False) -> pd.DataFrame:
    """One row per run whose value is the first step at which the quantity is at or below the level.

    A run that never is gets its last step, which can only make it look faster, and `reached` False.

    Args:
        rows: tidy rows of one quantity of the curves.
        levels: by dataset, in the unit of the quantity; other datasets are left out.
        of_first: the levels are shares of the first value of each run.
    """
    keys = list(RUN)
    ordered = rows[np.isfinite(rows["value"]) & rows["dataset"].isin(list(levels))].sort_values("step", kind="stable")
    values = ordered["value"] / (ordered.groupby(keys)["value"].transform("first") if of_first else 1)
    reached = ordered[values <= ordered["dataset"].map(levels).astype(float)].groupby(keys).head(1)
    last = ordered.groupby(keys).tail(1)
    first_steps = reached.set_index(keys)["step"].reindex(last.set_index(keys).index)
    steps = np.where(first_steps.isna(), last["step"], first_steps).astype(np.float64)
    return last.assign(value=steps, reached=first_steps.notna().to_numpy())


def _at_equal_loss(rows: pd.DataFrame, tables: Tables, pairs: Sequence[Pair]) -> tuple[pd.DataFrame, ByCell]:
    """The rows where training losses are equal among a baseline and the cells compared with it, and those losses."""
    require_one_value(rows)
    groups: dict[CellKey, CellKey] = {}
    for pair in pairs:
        if pair.baseline is not None:
            groups |= {pair.cell: pair.baseline, pair.baseline: pair.baseline}
    at_level = at_common_loss(rows, tables.curves, tables.runs, groups)
    losses = values_by_cell(at_level.assign(value=at_level["level"]), tables.runs, "last")
    return at_level.drop(columns="level"), losses


def _with_shortfalls(
    compared: Compared, sides: Sequence[pd.DataFrame], names: Sequence[str], claim: Comparison
) -> Compared:
    """With what the measurements say of their own errors."""
    reasons: list[Reason] = []
    for name, rows in dict(zip(names, sides, strict=True)).items():
        reasons += measuring_reasons(rows, compared.tables.measurements, name)
    sides_of = [compared.values], [compared.baseline_values]
    for side, name, rows in zip(sides_of, names, sides, strict=True):
        for sign in directions(name) if claim.baseline_value is None or side is sides_of[0] else ():
            side.append(values_by_cell(moved(rows, sign), compared.tables.runs, claim.at, claim.favoured_sign > 0))
    (own, *own_moved), (base, *base_moved) = sides_of
    pairs = [*((values, base) for values in own_moved), *((own, values) for values in base_moved)]
    return replace(compared, reasons=reasons, moved=pairs)


def _with_unreached(compared: Compared, sides: Sequence[pd.DataFrame], claim: Comparison) -> Compared:
    """With how many runs never got there; of a share, without the seeds of which neither run of a pair did."""
    reached = [
        {(*key, int(seed)) for *key, seed in rows.loc[rows["reached"], list(RUN)].itertuples(index=False)}
        for rows in sides
    ]
    unreached, kept, left_out = 0, {}, 0
    for pair in compared.pairs:
        kept[pair.cell] = dict(compared.values.get(pair.cell, {}))
        for seed in compared.common_seeds(pair):
            is_reached = [(*pair.cell, seed) in reached[0], (*(pair.baseline or ()), seed) in reached[1]]
            unreached += is_reached.count(False)
            if claim.until_share is not None and not any(is_reached):
                left_out += 1
                del kept[pair.cell][seed]
    if not unreached:
        return compared
    of_share = {} if claim.until_share is None else {"left_out": left_out}
    return replace(compared, values=kept, reasons=[because("unreached", num=unreached, **of_share)])
