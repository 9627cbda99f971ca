"""Normalised rows: gradients are orthogonal to them, they never shrink, and their length only rescales."""

from __future__ import annotations

import pandas as pd

from boundcheck.claims.shared.bound_sweep import MAX_PANELS, BoundSweep, drawn_rows, short_names
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.rows import KEYS, RUN, check_rows, wide
from boundcheck.claims.weight_norm.runs import follows_past_gradients, normalises_rows, of_runs
from boundcheck.settings import NotNegative, settings
from boundcheck.verdicts import Figure, Tables

COURSES = {"row_norm_min": "least", "row_norm_low": "10 %", "row_norm_mean": "mean", "row_norm_high": "90 %"}


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
        name = "row_gradient_cosine"
        points = wide(tables.measurements, [name], by_coordinate=False).dropna(subset=[name])
        premise = of_runs(points, tables.runs, normalises_rows)
        return check_rows(points, "w·∇_w L = 0", "equal", 0.0, points[name], self.tolerance, premise)


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
        before = curves.groupby([*RUN, "index"])["value"].shift()
        points, before = curves[before.notna()], before.dropna()
        premise = of_runs(points, tables.runs, normalises_rows, follows_past_gradients)
        tolerance = self.tolerance * before
        theorem, layer = "min_i‖w_i‖ never falls", points["index"]
        return check_rows(points, theorem, "lower", before, points["value"], tolerance, premise, layer)


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
        laws = (
            ("hidden_hessian_norm", 2, "‖∇²_WW f‖ ∝ 1/c²"),
            ("hidden_gradient_norm", 1, "‖∇_W f‖ ∝ 1/c"),
            ("function_norm", 0, "f does not depend on c"),
        )
        frames = []
        for quantity, power, theorem in laws:
            points = wide(tables.measurements, [quantity], by_coordinate=True).dropna(subset=[quantity, "coordinate"])
            unit = points[points["coordinate"] == 1][[*KEYS, "analysis", quantity]]
            points = points[points["coordinate"] != 1].merge(unit, on=[*KEYS, "analysis"], suffixes=("", "_at_1"))
            c, premise = points["coordinate"], of_runs(points, tables.runs, normalises_rows)
            expected = points[f"{quantity}_at_1"] / c**power
            tolerance = self.tolerance * expected.abs()
            frames.append(check_rows(points, theorem, "equal", expected, points[quantity], tolerance, premise, c))
        return pd.concat(frames, ignore_index=True)


@settings(kw_only=True)
class RowNormCourse(BoundSweep):
    """`bound_sweep` of row norms, with a figure of their least, 10 %, mean and 90 % values in each layer."""

    def figures(self, tables: Tables, rows: pd.DataFrame) -> list[Figure]:
        """As of `bound_sweep`, with the course of all row norms."""
        norms = drawn_rows(tables.curves[tables.curves["quantity"].isin(COURSES)], tables.runs, self.shown)
        return [*super().figures(tables, rows), *([_course(norms)] if len(norms) else [])]


def _course(rows: pd.DataFrame) -> Figure:
    panel = short_names(rows) + ", l = " + rows["index"].astype(str)
    rows = rows.assign(panel=panel, series=rows["quantity"].map(COURSES), x=rows["epoch"])
    data = averaged(rows[panel.isin(sorted(set(panel))[:MAX_PANELS])])
    caption = "Norms of the rows of layer l during training: their least, 10 %, mean and 90 % value, means over seeds."
    return Figure(data, "line", "epoch", "row norm", caption)
