"""Checks of normalised rows: gradients are orthogonal to them, they never shrink, and their length only rescales."""

from __future__ import annotations

import numpy as np
import pandas as pd

from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, wide
from boundcheck.claims.weight_norm.runs import follows_past_gradients, normalises_rows, of_runs
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Tables


@settings
class OrthogonalRows:
    """The loss's gradient by a normalised row is orthogonal to the row: |w·∇_w L| = 0 in units of ‖w‖‖∇L‖.

    The premise fails for the un-normalised twin.

    Args:
        tolerance: of arithmetic, a cosine.
    """

    tolerance: NotNegative = 1e-6

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and snapshot: the largest of all rows."""
        found = wide(tables.measurements, ["row_gradient_cosine"], by_coordinate=False).dropna(
            subset=["row_gradient_cosine"]
        )
        cosine = found["row_gradient_cosine"].to_numpy()
        premise = of_runs(found, tables.runs, normalises_rows)
        return check_rows(found, "w·∇_w L = 0", "equal", 0.0, cosine, self.tolerance, premise)


@settings
class RowNormsGrow:
    """The least row norm of a layer never falls, from one recorded moment to the next.

    The premise is (mini-batch) gradient descent, plain or with heavy-ball momentum, on a network with normalised rows;
    weight decay and Adam break it, and the rows say by how much (see `counter_example`).

    Args:
        tolerance: of arithmetic, relative.
    """

    tolerance: NotNegative = 1e-6

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, layer (the coordinate) and recorded moment but the first."""
        curves = tables.curves[tables.curves["quantity"] == "row_norm_min"]
        curves = curves.sort_values([*RUN, "index", "step"], kind="stable").reset_index(drop=True)
        earlier = curves.groupby([*RUN, "index"])["value"].shift()
        found, before = curves[earlier.notna()], earlier.dropna().to_numpy(np.float64)

        return check_rows(
            found,
            "min_i‖w_i‖ never falls",
            "lower",
            before,
            found["value"].to_numpy(),
            self.tolerance * before,
            of_runs(found, tables.runs, normalises_rows, follows_past_gradients),
            found["index"].to_numpy(),
        )


@settings
class RowScalingLaw:
    """All hidden rows times c: ‖∇²_WW f‖ and ‖∇_W f‖ become exactly 1/c² and 1/c of what they were, and f stays.

    The premise fails for the un-normalised twin.

    Args:
        tolerance: of arithmetic and of Lanczos, relative.
    """

    tolerance: NotNegative = 1e-9

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, factor and quantity; the coordinate is c."""
        powers = {"hidden_hessian_norm": (2, "‖∇²_WW f‖ ∝ 1/c²"), "hidden_gradient_norm": (1, "‖∇_W f‖ ∝ 1/c")}
        powers["function_norm"] = (0, "f does not depend on c")
        frames = []
        for quantity, (power, theorem) in powers.items():
            found = wide(tables.measurements, [quantity], by_coordinate=True).dropna(subset=[quantity, "coordinate"])
            unit = found[found["coordinate"] == 1][[*KEYS, "analysis", quantity]]
            found = found.merge(unit, on=[*KEYS, "analysis"], suffixes=("", "_at_1"))
            found = found[found["coordinate"] != 1]
            c, premise = found["coordinate"].to_numpy(), of_runs(found, tables.runs, normalises_rows)
            expected = found[f"{quantity}_at_1"].to_numpy() / c**power
            measured, tolerance = found[quantity].to_numpy(), self.tolerance * np.abs(expected)
            frames.append(check_rows(found, theorem, "equal", expected, measured, tolerance, premise, c))
        return pd.concat(frames, ignore_index=True)
