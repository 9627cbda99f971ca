"""Checks of what each step of adaptive momentum does: its length and angle, the descent, the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.dag_momentum.steps import (
    ADAPTIVE,
    KINDS,
    energy_tolerance,
    momentum_steps,
    worst_of_stretches,
)
from boundcheck.claims.shared.rows import check_rows
from boundcheck.theory.dag_momentum.step import (
    cosine_bound,
    decrease,
    descent_slope_bound,
    paper_decrease,
    paper_step_limit,
    predicted_decrease,
    step_limit,
    update_bracket,
)
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StepCheck:
    """What the checks of steps share: which runs, and how many rows of each; a row is the worst step of a stretch.

    Args:
        models: names of models; patterns are allowed.
        methods: names of methods; patterns are allowed.
        stretches: of a run, a row each.
    """

    models: Sequence[str] = ("*",)
    methods: Sequence[str] = ("*",)
    stretches: int = 40

    def __post_init__(self) -> None:
        if not isinstance(self.stretches, int) or self.stretches < 1:
            raise ValueError(f"stretches: got {self.stretches!r}; allowed: a whole number >= 1")
        for name in ("models", "methods"):
            if isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name}: got {getattr(self, name)!r}; allowed: a list of names, at least one")

    def steps(self, tables: Tables, kinds: Sequence[str] = ADAPTIVE) -> pd.DataFrame:
        """The steps of the runs that are wanted."""
        return momentum_steps(tables, kinds, self.models, self.methods)

    def judged(
        self, steps: pd.DataFrame, theorem: str, sense: Any, bound: Any, measured: Any, tolerance: Any, premise: Any
    ) -> pd.DataFrame:
        """Check rows of the worst step of each stretch."""
        bound, measured, tolerance = (
            np.broadcast_to(np.asarray(v, np.float64), len(steps)) for v in (bound, measured, tolerance)
        )
        slack = bound - measured if sense == "upper" else measured - bound
        chosen = worst_of_stretches(steps, slack, self.stretches)
        at = steps.index.get_indexer(chosen.index)
        premise = np.broadcast_to(np.asarray(premise, bool), len(steps))[at]
        return check_rows(chosen, theorem, sense, bound[at], measured[at], tolerance[at], premise)


@dataclass(frozen=True)
class MomentumBracket(StepCheck):
    """(1 − s) ≤ ‖Δw‖/(η‖g‖) ≤ (1 + s), −⟨g, Δw⟩ ≥ (1 − s)η‖g‖² and cos∠(Δw, −g) ≥ √(1 − s²) at every step.

    The premise is s < 1 alone.

    Args:
        tolerance: of arithmetic, on ratios of order 1, in units of the run's ε; 5000 are 10⁻¹² in float64.
    """

    tolerance: float = 5000.0

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Four rows per run and stretch."""
        import pandas as pd

        steps = self.steps(tables)
        steps = steps[steps["gradient_norm"] > 0].reset_index(drop=True)
        s = steps["s"].to_numpy(np.float64)
        within = np.clip(s, 0, 1)
        lower, upper = update_bracket(1.0, 1.0, within)
        ratio = (steps["update_norm"] / (steps["lr"] * steps["gradient_norm"])).to_numpy(np.float64)
        premise, tolerance = s < 1, self.tolerance * steps["epsilon"]
        parts = [
            self.judged(steps, "‖Δw‖/(η‖g‖) ≤ 1 + s", "upper", upper, ratio, tolerance, premise),
            self.judged(steps, "‖Δw‖/(η‖g‖) ≥ 1 − s", "lower", lower, ratio, tolerance, premise),
            self.judged(
                steps,
                "−⟨g, Δw⟩/(η‖g‖²) ≥ 1 − s",
                "lower",
                descent_slope_bound(1.0, 1.0, within),
                steps["descent_cosine"] * ratio,
                tolerance,
                premise,
            ),
            self.judged(
                steps,
                "cos∠(Δw, −g) ≥ √(1 − s²)",
                "lower",
                cosine_bound(within),
                steps["descent_cosine"],
                tolerance,
                premise,
            ),
        ]
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class MomentumDescent(StepCheck):
    """E_k − E_{k+1} ≥ c ‖g_k‖² with the sharp c_S and with the paper's c_P, at every step.

    L is that of the run (see `momentum_steps`), and the premise that the step size is below the limit for it and that
    no measured curvature exceeds it: a sampled certificate, for between the measured steps it is not known.
    """

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Two rows per run and stretch."""
        import pandas as pd

        steps = _with_curvature(self.steps(tables))
        eta, L, s = (steps[name].to_numpy(np.float64) for name in ("lr", "curvature", "s"))
        s = np.clip(s, 0, 1)
        squared = steps["gradient_norm"].to_numpy() ** 2
        forms = (
            ("E_k − E_{k+1} ≥ c_S ‖g‖² (sharp)", decrease, step_limit),
            ("E_k − E_{k+1} ≥ c_P ‖g‖² (paper's form)", paper_decrease, paper_step_limit),
        )
        parts = []
        for theorem, constant, limit in forms:
            premise = steps["certified"].to_numpy(bool) & (eta < limit(L, s)) & (steps["s"] < 1).to_numpy()
            bound = constant(eta, L, s) * squared
            parts.append(
                self.judged(steps, theorem, "lower", bound, steps["decrease"], energy_tolerance(steps), premise)
            )
        return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class MomentumMonotone(StepCheck):
    """E_{k+1} ≤ E_k at every step, where η < 2/((1 + s)L); beyond the limit a rise is reported and no violation.

    L is that of the run, as of `momentum_descent`: a sampled certificate.
    """

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and stretch, the step with the largest rise."""
        steps = _with_curvature(self.steps(tables, KINDS))
        s = steps["s"].to_numpy(np.float64)  # NaN for a constant momentum, of which nothing is promised
        limit = step_limit(steps["curvature"].to_numpy(np.float64), np.clip(np.nan_to_num(s, nan=1.0), 0, 1))
        premise = steps["certified"].to_numpy(bool) & (steps["lr"].to_numpy() < limit) & (s < 1)
        return self.judged(
            steps,
            "E_{k+1} ≤ E_k",
            "upper",
            steps["objective"],
            steps["next_objective"],
            energy_tolerance(steps),
            premise,
        )


@dataclass(frozen=True)
class StepPrediction(StepCheck):
    """E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖² at every step whose curvature L_k was measured.

    L_k is the largest of three places on the step, times 1 + `margin`; the premise η L_k ≤ 2 keeps to steps so short
    that the curvature between the places is not another one, and to changes of E that are more than rounding.

    Args:
        margin: on L_k, for what lies between the places.
    """

    margin: float = 0.05

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and stretch that has a measured step."""
        steps = self.steps(tables, KINDS)
        steps = steps[steps["local_curvature"].notna() & steps["decrease"].notna()].reset_index(drop=True)
        curvature = (1 + self.margin) * steps["local_curvature"].to_numpy(np.float64)
        bound = predicted_decrease(steps["slope"], steps["update_norm"], curvature)
        tolerance = energy_tolerance(steps)
        is_resolved = np.maximum(np.abs(bound), steps["decrease"].abs()) > tolerance
        premise = (steps["lr"].to_numpy() * curvature <= 2) & is_resolved
        theorem = "E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖²"
        return self.judged(steps, theorem, "lower", bound, steps["decrease"], tolerance, premise)


def _with_curvature(steps: pd.DataFrame) -> pd.DataFrame:
    return steps[(steps["curvature"] > 0) & steps["decrease"].notna()].reset_index(drop=True)
