"""The steps of momentum methods as one row each, and the worst of each stretch of a run."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.rows import KEYS, RUN
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd

ADAPTIVE = ("adaptive_momentum", "gradient_descent")
HEAVY_BALL = ("heavy_ball", "polyak")
KINDS = (*ADAPTIVE, *HEAVY_BALL, "nesterov")
CELL = ("dataset", "model", "method")
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
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-23}  # bfloat16 keeps its sums in float32
ROUNDINGS = 64  # of a difference of losses, in units of ε E


def momentum_steps(
    tables: Tables, kinds: Sequence[str], models: Sequence[str] = ("*",), methods: Sequence[str] = ("*",)
) -> pd.DataFrame:
    """One row per step of the runs of these kinds of methods.

    Args:
        tables: curves with the quantities that the callback `updates` records, and `curvature` or `certificate`.
        kinds: kinds of methods.
        models: names of models; patterns are allowed.
        methods: names of methods; patterns are allowed.

    Returns: the keys of a check, EVERY_STEP and MEASURED (NaN where there is none), and `next_objective` E_{k+1},
        `decrease` E_k − E_{k+1}, `previous_update` ‖Δ_k‖, `slope` ⟨g_k, Δ_{k+1}⟩, `s`, `momentum` and `weight_decay` of
        the method, `epsilon` of its precision, `curvature`, the L of the run (the last L̂ where a certificate was held,
        else the largest curvature that was measured), and `certified`, whether every measured curvature of the run is
        at most L.
    """
    import pandas as pd

    names = [*EVERY_STEP, *MEASURED, *DERIVED]
    steps, run_of = _recorded(tables.curves)
    numbers: dict[int, dict[str, float]] = {}
    for run in tables.runs.to_dict("records"):
        spec, place = run.get("method_spec") or {}, run_of.get(tuple(run[key] for key in RUN))
        named = _matches(run["model"], models) and _matches(run["method"], methods)
        if place is not None and named and spec.get("kind") in kinds:
            precision = (run.get("training") or {}).get("precision", "float64")
            numbers[place] = {**_numbers(spec), "epsilon": EPSILON[precision]}
    if not numbers:
        return pd.DataFrame(columns=[*KEYS, *names]).astype(dict.fromkeys(names, np.float64))
    steps = steps[steps["run"].isin(list(numbers))].reset_index(drop=True)
    of_runs = pd.DataFrame.from_dict(numbers, orient="index").loc[steps["run"]].reset_index(drop=True)
    return pd.concat([steps.drop(columns="run"), of_runs], axis=1)


DERIVED = (
    "next_objective",
    "decrease",
    "previous_update",
    "slope",
    "s",
    "momentum",
    "weight_decay",
    "epsilon",
    "curvature",
    "certified",
)


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


def energy_tolerance(steps: pd.DataFrame) -> np.ndarray:
    """What rounding may do to a difference of two losses: 64 ε E."""
    return (ROUNDINGS * steps["epsilon"] * steps["objective"].abs()).to_numpy()


def sampling(steps: pd.DataFrame) -> str:
    """In words, on how many of these steps the curvature was measured that their certificate is about."""
    num = int(steps["local_curvature"].notna().sum())
    return f"a sampled certificate: curvature measured on {num} of {len(steps)} steps"


def joined(*parts: str) -> str:
    """A reason made of those parts that say something."""
    return "; ".join(part for part in parts if part)


def _recorded(curves: pd.DataFrame) -> tuple[pd.DataFrame, dict[Any, int]]:
    """The steps of all runs, with a number `run` for each run, and that number by run.

    The checks of a paper all ask for the steps of one table, so those of the last one are kept while it lives.
    """
    if _kept and _kept[0][0]() is curves:
        return _kept[0][1]
    rows = curves[curves["quantity"].isin([*EVERY_STEP, *MEASURED])]
    if not len(rows):
        return rows, {}
    table: Any = rows.set_index([*KEYS, "quantity"])["value"].unstack("quantity")
    table = table.reindex(columns=[*EVERY_STEP, *MEASURED]).astype(np.float64).reset_index()
    table = table.sort_values([*RUN, "step"], ignore_index=True)
    table["run"] = table.groupby(list(RUN)).ngroup()
    firsts = table.drop_duplicates("run")
    run_of = dict(zip(zip(*(firsts[key] for key in RUN), strict=True), firsts["run"].tolist(), strict=True))
    found = _derived(table), run_of
    _kept[:] = [(weakref.ref(curves), found)]
    return found


_kept: list[tuple[weakref.ref[pd.DataFrame], tuple[pd.DataFrame, dict[Any, int]]]] = []


def _numbers(spec: dict[str, Any]) -> dict[str, float]:
    kind = spec["kind"]
    s = 0.0 if kind == "gradient_descent" else float(spec.get("s", 0.5)) if kind == "adaptive_momentum" else np.nan
    momentum = float(spec.get("momentum", 0.9)) if kind in ("heavy_ball", "nesterov") else np.nan
    if kind == "polyak":
        from boundcheck.theory.dag_momentum.baselines import polyak_settings

        momentum = float(polyak_settings(spec["curvature"], spec["strong_convexity"]).momentum)
    return {"s": s, "momentum": momentum, "weight_decay": float(spec.get("weight_decay", 0.0))}


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


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
