"""Check of GAM's convergence: the mean squared gradient norm along a training against the explicit bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.kinds import method_of
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, columns_of
from boundcheck.claims.shared.selection import Settings, cells_of
from boundcheck.optional_members import ConvergesByTheorem
from boundcheck.settings import NotNegative, TrainingSettings, settings
from boundcheck.theory.gam.convergence import convergence_bound
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    from boundcheck.methods.gam import GAMMethod

THEOREM = "mean over t ≤ T of ‖∇F(θ_t)‖² ≤ (C₁ + C₂ log T)/√T"
NUM_POINTS = 40  # numbers of steps T, evenly spread in log T


@settings
class GAMConverges:
    """(1/T) Σ_{t≤T} ‖∇F(θ_t)‖² ≤ (C₁ + C₂ log T)/√T, every constant explicit, along full-batch GAM with exact products.

    What the theorem assumes and the config must give: `form: exact` without an oracle, plain SGD as the base (no
    momentum, no weight decay), `lr_schedule: inverse_sqrt` without warm-up, `rho_min: 0` (so that ρ_t = ρ₀/√t too), a
    full batch (σ = 0), and η₀ ≤ 1/(4γ₁). For γ₁ stands the largest ‖H‖ of the snapshots: a sampled certificate, since
    between them ‖H‖ may be larger. For F* stands 0, which no loss here goes below.

    Args:
        tolerance: of arithmetic, relative to the bound.
    """

    tolerance: NotNegative = 1e-9

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Rows at up to 40 numbers of steps T for each finished run of such a cell that recorded its gradient norms."""
        covered = {key: method for key, cell in cells_of(tables.runs).items() if (method := _covered_method(cell))}
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        curves = columns_of(tables.curves, KEYS, ["gradient_norm", "train_loss"])
        norms = tables.measurements[tables.measurements["quantity"] == "spectral_norm"]
        curvature = (norms["value"] + norms["error"].fillna(0.0)).groupby([norms[key] for key in RUN]).max()
        frames = [check_rows(curves[:0], THEOREM, "upper", [], [])]
        groups: Any = done.merge(curves).groupby(list(RUN), sort=False)
        for run, curve in groups:
            has_both = not curve[["gradient_norm", "train_loss"]].isna().all().any()
            if run[:3] in covered and run in curvature.index and has_both:
                frames.append(self._rows(curve, covered[run[:3]], float(curvature[run])))
        return pd.concat(frames, ignore_index=True)

    def _rows(self, curve: pd.DataFrame, method: GAMMethod, smoothness: float) -> pd.DataFrame:
        norms, losses = curve.dropna(subset=["gradient_norm"]), curve["train_loss"].dropna()
        means = np.cumsum(norms["gradient_norm"].to_numpy() ** 2) / np.arange(1, len(norms) + 1)
        steps = np.unique(np.geomspace(1, len(norms), NUM_POINTS).round().astype(int))
        premise = method.base["lr"] <= 1 / (4 * smoothness)
        bound = convergence_bound(
            steps,
            initial_gap=float(losses.iloc[0]),
            lr=min(method.base["lr"], 1 / (4 * smoothness)),
            alpha=method.alpha,
            rho=method.rho,
            gradient_lipschitz=smoothness,
            gradient_noise=0.0,
        )
        tolerance = self.tolerance * np.abs(bound)
        return check_rows(norms.iloc[steps - 1], THEOREM, "upper", bound, means[steps - 1], tolerance, premise)


def _covered_method(cell: Settings) -> GAMMethod | None:
    """The method of a cell that the theorem covers."""
    method = method_of(cell)
    knows = isinstance(method, ConvergesByTheorem)
    return method if knows and method.converges(TrainingSettings(**cell["training"])) else None
