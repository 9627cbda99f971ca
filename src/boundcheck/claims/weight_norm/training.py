"""Checks of how smooth the loss of weight-normalised networks is, and of the descent that follows from it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, columns_of, wide
from boundcheck.claims.weight_norm.runs import follows_gradient, is_full_batch, is_square_on_sphere, of_runs
from boundcheck.contracts import NAN
from boundcheck.settings import NotNegative, settings
from boundcheck.theory.weight_norm.training import descent_bound
from boundcheck.verdicts import Figure, Reason, Tables, because

DESCENT = "L(θ) − L(θ⁺) ≥ η(1 − ηβ/2)‖∇L‖²"
RISE = f"{DESCENT}, which promises none"


@settings
class Sharpness:
    """λ_max(∇²L) ≤ β, the smoothness that bounds on the predictor give the loss at θ.

    Args:
        tolerance: of arithmetic, relative to β.
    """

    tolerance: NotNegative = 1e-6

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and snapshot that has both, on the same examples."""
        names = ["sharpness", "loss_smoothness"]  # of two analyses
        both = wide(tables.measurements.assign(analysis="both"), names, by_coordinate=False).dropna(subset=names)
        beta, sharpness = both["loss_smoothness"].to_numpy(), both["sharpness"].to_numpy()
        return check_rows(both, "λ_max(∇²L) ≤ β", "upper", beta, sharpness, self.tolerance * np.abs(beta))


@settings
class Descent:
    """L(θ) − L(θ − η∇L) ≥ η(1 − ηβ(η)/2)‖∇L‖², at every step whose β was recorded.

    The premise is full-batch gradient descent, which makes this exactly one step of the recorded loss, of the square
    loss on inputs of length √d, which β is of. Where ηβ ≥ 2 no
    decrease is promised, only how much the loss may rise: those rows are an inequality of their own, without tightness.

    Args:
        tolerance: of arithmetic, relative to L(θ).
    """

    tolerance: NotNegative = 1e-9

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and recorded step."""
        names = ["smoothness", "step_size", "gradient_norm_total"]
        points = columns_of(tables.curves, KEYS, [*names, "train_loss"])
        later = points[[*RUN, "step", "train_loss"]].assign(step=points["step"] - 1)
        points = points.merge(later, on=[*RUN, "step"], suffixes=("", "_after"))
        points = points.dropna(subset=[*names, "train_loss", "train_loss_after"])
        loss, after, beta, lr, norm = (points[name].to_numpy() for name in ("train_loss", "train_loss_after", *names))
        promised = loss - np.asarray(descent_bound(loss, norm, lr, beta))
        premise = of_runs(points, tables.runs, is_full_batch, follows_gradient, is_square_on_sphere)
        rows = check_rows(points, DESCENT, "lower", promised, loss - after, self.tolerance * np.abs(loss), premise)
        promises = lr * beta < 2
        tightness = rows["tightness"].where(promises, NAN)
        return rows.assign(theorem=np.where(promises, DESCENT, RISE), tightness=tightness)


@settings(kw_only=True)
class DescentSays(BoundSweep):
    """`bound_sweep` of the descent, saying how many rows promise a decrease; its figures show those alone."""

    def more_reasons(self, tables: Tables, held: pd.DataFrame) -> list[Reason]:
        """As of `bound_sweep`, with the number of rows where ηβ < 2."""
        promising = because("promised_descent", num=int((held["theorem"] == DESCENT).sum()), num_rows=len(held))
        return [*([promising] if len(held) else []), *super().more_reasons(tables, held)]

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """Of the rows that promise a decrease."""
        return super().figures(tables, rows[rows["theorem"] == DESCENT])
