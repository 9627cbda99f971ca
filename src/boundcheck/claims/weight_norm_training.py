"""Checks of how smooth the loss of weight-normalised networks is, and of the descent that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boundcheck.claims.rows import KEYS, RUN, check_rows, wide
from boundcheck.claims.weight_norm_runs import check_not_negative, is_full_batch, is_plain_descent, of_runs
from boundcheck.theory.weight_norm_training import descent_bound
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Sharpness:
    """λ_max(∇²L) ≤ β, the smoothness that bounds on the predictor give the loss at θ.

    Args:
        tolerance: of arithmetic, relative to β.
    """

    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_not_negative("tolerance", self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and snapshot that has both, on the same examples."""
        found = [
            wide(tables.measurements, [name], by_coordinate=False).dropna(subset=[name]).drop(columns="analysis")
            for name in ("sharpness", "loss_smoothness")
        ]
        both = found[0].merge(found[1], on=[*KEYS])
        beta, sharpness = both["loss_smoothness"].to_numpy(), both["sharpness"].to_numpy()
        return check_rows(both, "λ_max(∇²L) ≤ β", "upper", beta, sharpness, self.tolerance * np.abs(beta))


@dataclass(frozen=True)
class Descent:
    """L(θ) − L(θ − η∇L) ≥ η(1 − ηβ(η)/2)‖∇L‖², at every step whose β was recorded.

    The premise is full-batch gradient descent, which makes this exactly one step of the recorded loss.

    Args:
        tolerance: of arithmetic, relative to L(θ).
    """

    tolerance: float = 1e-9

    def __post_init__(self) -> None:
        check_not_negative("tolerance", self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and recorded step."""
        names = ["smoothness", "step_size", "gradient_norm_total"]
        found = _curves_wide(tables.curves, [*names, "train_loss"])
        later = found[[*RUN, "step", "train_loss"]].assign(step=found["step"] - 1)
        found = found.merge(later, on=[*RUN, "step"], suffixes=("", "_after"))
        found = found.dropna(subset=[*names, "train_loss", "train_loss_after"])
        loss, after, beta, lr, norm = (found[name].to_numpy() for name in ("train_loss", "train_loss_after", *names))

        def premise(run: dict) -> bool:
            return is_full_batch(run) and is_plain_descent(run)

        return check_rows(
            found,
            "L(θ) − L(θ⁺) ≥ η(1 − ηβ/2)‖∇L‖²",
            "lower",
            loss - np.asarray(descent_bound(loss, norm, lr, beta)),
            loss - after,
            self.tolerance * np.abs(loss),
            of_runs(found, tables.runs, premise),
        )


def _curves_wide(curves: pd.DataFrame, quantities: list[str]) -> pd.DataFrame:
    rows = curves[curves["quantity"].isin(quantities)]
    table = rows.groupby([*KEYS, "quantity"])["value"].first().unstack("quantity")
    return table.reindex(columns=quantities).astype(np.float64).reset_index()
