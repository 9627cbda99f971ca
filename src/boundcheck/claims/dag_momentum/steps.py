"""The steps of momentum methods, a row each, with what the theorems on steps need beside the recorded quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.kinds import method_of
from boundcheck.claims.shared.rows import KEYS, RUN, columns_of
from boundcheck.claims.shared.selection import Settings, cells_of
from boundcheck.contracts import NAN
from boundcheck.optional_members import HasMomentumLaw
from boundcheck.verdicts import Reason, Tables, because

RULES = ("adaptive", "heavy_ball", "nesterov")  # of a `MomentumLaw`
EVERY_STEP = (
    "objective",
    "gradient_norm",
    "update_norm",
    "descent_cosine",
    "lr",
    "effective_momentum",
    "path_length",
    "parameter_norm",
)
MEASURED = ("local_curvature", "sharpness", "lowest_curvature", "assumed_curvature")
OF_METHOD = ("s", "momentum", "weight_decay", "epsilon", "rule")
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-23}  # bfloat16 keeps its sums in float32
ROUNDINGS = 64  # of a difference of losses, in units of ε E


def momentum_steps(tables: Tables, rules: Sequence[str] = RULES) -> pd.DataFrame:
    """One row per step of those runs of the table of runs whose method has one of these momentum laws.

    Its quantities are those that the callback `updates` records, and `curvature` or `certificate`.

    Returns: the keys of a check, EVERY_STEP and MEASURED (NaN where there is none), and `next_objective` E_{k+1},
        `decrease` E_k − E_{k+1}, `previous_update` ‖Δ_k‖, `slope` ⟨g_k, Δ_{k+1}⟩, `s` of adaptive momentum, `momentum`
        β of the others, `weight_decay`, `rule` of the law, `epsilon` of the precision, `curvature`, the L of the run
        (the last L̂ where a certificate was held, else the largest curvature that was measured), and `certified`,
        whether every measured curvature of the run is at most L.
    """
    steps, run_of = tables.view(tables.curves, _recorded)
    of_run = {
        run_of[run]: numbers
        for run, numbers in tables.view(tables.runs, _numbers).items()
        if run in run_of and numbers["rule"] in rules
    }
    steps = steps[steps["run"].isin(list(of_run))]
    return steps.assign(**{name: steps["run"].map({run: of[name] for run, of in of_run.items()}) for name in OF_METHOD})


def worst_of_stretches(steps: pd.DataFrame, slack: Any, num_stretches: int) -> pd.DataFrame:
    """The row with the least slack in each of the stretches that every run is cut into.

    A bound that holds there holds at every step of the stretch. Rows whose slack is NaN are left out.

    Args:
        steps: rows with the keys of a run and `step`.
        slack: (n,), how far each row is inside its bound.
        num_stretches: of a run.
    """
    marked = steps.assign(_slack=np.asarray(slack, dtype=np.float64))
    marked = marked[marked["_slack"].notna()]
    if not len(marked):
        return steps.iloc[:0]
    last = marked.groupby(list(RUN))["step"].transform("max")
    stretch = (marked["step"] * num_stretches) // (last + 1)
    worst = marked.groupby([*(marked[key] for key in RUN), stretch])["_slack"].idxmin()
    return steps.loc[np.sort(worst.to_numpy())]


def clipped_s(steps: pd.DataFrame) -> np.ndarray:
    """s of every step, kept in [0, 1], where the bounds are defined; their premise asks for s < 1."""
    return np.clip(steps["s"].to_numpy(np.float64), 0, 1)


def summed(steps: pd.DataFrame, values: pd.Series) -> pd.Series:
    """The sums of a value over the steps of each run so far, the step itself included."""
    return values.groupby([steps[key] for key in RUN]).cumsum()


def first_objective(steps: pd.DataFrame) -> pd.Series:
    """E_0 of each step's run."""
    return steps.groupby(list(RUN))["objective"].transform("first")


def energy_tolerance(steps: pd.DataFrame) -> pd.Series:
    """What rounding may do to a difference of two losses: 64 ε E."""
    return ROUNDINGS * steps["epsilon"] * steps["objective"].abs()


def steps_of(tables: Tables, runs: pd.DataFrame) -> pd.DataFrame:
    """The steps of these runs (rows with the keys of a run), whatever their momentum law."""
    return momentum_steps(tables).merge(runs[list(RUN)].drop_duplicates(), on=list(RUN))


def sampling(steps: pd.DataFrame) -> Reason:
    """On how many of these steps the curvature was measured that their certificate is about."""
    return because("sampled_certificate", num=int(steps["local_curvature"].notna().sum()), num_steps=len(steps))


def _numbers(runs: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """The columns OF_METHOD by run, of those whose method has a momentum law."""
    of_cell = {key: _of_cell(cell) for key, cell in cells_of(runs).items()}
    keys = zip(*(runs[key] for key in RUN), strict=True)
    return {run: of_cell[run[:3]] for run in keys if of_cell[run[:3]]}


def _of_cell(cell: Settings) -> dict[str, Any]:
    method = method_of(cell)
    if not isinstance(method, HasMomentumLaw):
        return {}
    law = method.momentum_law
    s, momentum = (law.number, NAN) if law.rule == "adaptive" else (NAN, law.number)
    epsilon = EPSILON[cell["training"]["precision"]]
    return {"s": s, "momentum": momentum, "weight_decay": method.weight_decay, "epsilon": epsilon, "rule": law.rule}


def _recorded(curves: pd.DataFrame) -> tuple[pd.DataFrame, dict[Any, int]]:
    """The steps of all runs, with a number `run` for each run, and that number by run."""
    table = columns_of(curves, KEYS, [*EVERY_STEP, *MEASURED]).sort_values([*RUN, "step"], ignore_index=True)
    table["run"] = table.groupby(list(RUN)).ngroup()
    firsts = table.drop_duplicates("run")
    run_of = dict(zip(zip(*(firsts[key] for key in RUN), strict=True), firsts["run"].tolist(), strict=True))
    return _derived(table), run_of


def _derived(table: pd.DataFrame) -> pd.DataFrame:
    runs = table.groupby("run")
    following = runs[["step", "objective"]].shift(-1)
    is_next = following["step"] == table["step"] + 1
    table["next_objective"] = following["objective"].where(is_next)
    table["decrease"] = table["objective"] - table["next_objective"]
    table["previous_update"] = runs["update_norm"].shift(1).fillna(0.0)
    table["slope"] = -table["descent_cosine"] * table["gradient_norm"] * table["update_norm"]
    assumed, measured = runs["assumed_curvature"].transform("last"), runs["local_curvature"].transform("max")
    table["curvature"] = assumed.fillna(measured)
    table["certified"] = (measured <= table["curvature"]) & (table["curvature"] > 0)
    return table
