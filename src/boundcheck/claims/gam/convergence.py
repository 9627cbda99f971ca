"""Check of GAM's convergence: the mean squared gradient norm along a training against the explicit bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from boundcheck.claims.shared.kinds import method_of
from boundcheck.claims.shared.rows import RUN, check_rows
from boundcheck.claims.shared.selection import Settings, cells_of
from boundcheck.settings import NotNegative, TrainingSettings, settings
from boundcheck.theory.gam.convergence import convergence_bound
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    from boundcheck.methods.gam import GAMMethod

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
        parts = []
        for run in tables.runs[tables.runs["status"] == "done"].to_dict("records"):
            method = covered.get((run["dataset"], run["model"], run["method"]))
            if method is not None:
                parts.append(self._rows(run, method, tables))
        return pd.concat([part for part in parts if part is not None] or [_no_rows()], ignore_index=True)

    def _rows(self, run: Mapping[Any, Any], method: GAMMethod, tables: Tables) -> pd.DataFrame | None:
        curve = _of_run(tables.curves, run).sort_values("step")
        norms = curve[curve["quantity"] == "gradient_norm"]
        losses = curve[curve["quantity"] == "train_loss"]
        curvature = _of_run(tables.measurements, run)
        curvature = curvature[curvature["quantity"] == "spectral_norm"]
        if norms.empty or losses.empty or curvature.empty:
            return None
        smoothness = float((curvature["value"] + curvature["error"].fillna(0.0)).max())
        means = np.cumsum(norms["value"].to_numpy() ** 2) / np.arange(1, len(norms) + 1)
        steps = np.unique(np.geomspace(1, len(norms), NUM_POINTS).round().astype(int))
        premise = method.base["lr"] <= 1 / (4 * smoothness)
        bound = convergence_bound(
            steps,
            initial_gap=float(losses["value"].iloc[0]),
            lr=min(method.base["lr"], 1 / (4 * smoothness)),
            alpha=method.alpha,
            rho=method.rho,
            gradient_lipschitz=smoothness,
            gradient_noise=0.0,
        )
        return check_rows(
            norms.iloc[steps - 1],
            "mean over t ≤ T of ‖∇F(θ_t)‖² ≤ (C₁ + C₂ log T)/√T",
            "upper",
            bound,
            measured=means[steps - 1],
            tolerance=self.tolerance * np.abs(bound),
            premise_holds=premise,
        )


def _covered_method(cell: Settings) -> GAMMethod | None:
    """The method of a cell that the theorem covers."""
    method = method_of(cell)
    covers = getattr(method, "converges", None)
    return method if covers is not None and covers(TrainingSettings(**cell["training"])) else None


def _of_run(rows: pd.DataFrame, run: Mapping[Any, Any]) -> pd.DataFrame:
    return rows[np.logical_and.reduce([rows[key] == run[key] for key in RUN])]


def _no_rows() -> pd.DataFrame:
    keys = pd.DataFrame(columns=["dataset", "model", "method", "seed", "step", "epoch"])
    return check_rows(keys, "", "upper", np.zeros(0), np.zeros(0))
