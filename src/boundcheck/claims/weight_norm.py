"""Checks of what the theory of weight-normalised networks states of measured predictors and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.rows import KEYS, check_rows, wide
from boundcheck.verdicts import Tables

if TYPE_CHECKING:
    import pandas as pd

BOUNDS = {  # from the tightest; each is at least the one before it
    "blocks": "B2",
    "layers": "B1",
    "parameters": "B0t",
    "a_priori": "B0",
    "a_priori_global": "B0 (global)",
}
CLOSED = {"squared": "L² form", "cubic": "L³ form"}
SYMBOLS = {"hessian": "‖∇²f‖", "gradient": "‖∇f‖"}


@dataclass(frozen=True)
class PredictorBounds:
    """‖∇²f‖ (or ‖∇f‖) of every measured prediction is below each of its bounds, B2 ≤ B1 ≤ B0t ≤ B0 and closed forms.

    The Hessian's norm is found by Lanczos from below, so a row outside is a fault of the theorem or of its code. The
    premise fails where a network has no such bound: torch's weight normalisation of other architectures, and for the
    bounds in row norms the un-normalised twin.

    Args:
        of: hessian or gradient.
        tolerance: of arithmetic, relative to the bound.
    """

    of: str = "hessian"
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        if self.of not in SYMBOLS:
            raise ValueError(f"of: got {self.of!r}; allowed: {', '.join(SYMBOLS)}")
        check_not_negative("tolerance", self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, example and bound."""
        import pandas as pd

        measured = f"predictor_{self.of}_norm"
        names = {f"{self.of}_bound_{name}": label for name, label in (BOUNDS | CLOSED).items()}
        found = wide_by_index(tables.measurements, [measured, *names]).dropna(subset=[measured])
        frames = [
            self._rows(found, f"{SYMBOLS[self.of]} ≤ {label}", found[name], found[measured])
            for name, label in names.items()
            if found[name].notna().any() or not found[[*names]].notna().any(axis=None)
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*KEYS])

    def _rows(self, keys: pd.DataFrame, theorem: str, bound: pd.Series, measured: pd.Series) -> pd.DataFrame:
        bounds = bound.to_numpy()
        tolerance = self.tolerance * np.nan_to_num(np.abs(bounds), posinf=0.0)
        return check_rows(keys, theorem, "upper", bounds, measured.to_numpy(), tolerance)


@dataclass(frozen=True)
class NestedBounds:
    """B2 ≤ B1 ≤ B0t ≤ B0 ≤ B0 (global), on every prediction: a cheaper bound is never the tighter one.

    Args:
        of: hessian or gradient.
        tolerance: of arithmetic, relative to the larger bound.
    """

    of: str = "hessian"
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        PredictorBounds(self.of, self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, example and pair of neighbours that are both there."""
        import pandas as pd

        names = [f"{self.of}_bound_{name}" for name in BOUNDS]
        found = wide_by_index(tables.measurements, names)
        frames = []
        for below, above in zip(BOUNDS, [*BOUNDS][1:], strict=False):
            columns = [f"{self.of}_bound_{name}" for name in (above, below)]
            part = found.dropna(subset=columns)
            upper, lower = (part[name].to_numpy() for name in columns)
            tolerance = self.tolerance * np.nan_to_num(upper, posinf=0.0)
            frames.append(check_rows(part, f"{BOUNDS[below]} ≤ {BOUNDS[above]}", "upper", upper, lower, tolerance))
        return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class OrthogonalRows:
    """The loss's gradient by a normalised row is orthogonal to the row: |w·∇_w L| = 0 in units of ‖w‖‖∇L‖.

    The premise fails for the un-normalised twin.

    Args:
        tolerance: of arithmetic, a cosine.
    """

    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_not_negative("tolerance", self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and snapshot: the largest of all rows."""
        found = wide(tables.measurements, ["row_gradient_cosine"], by_coordinate=False).dropna(
            subset=["row_gradient_cosine"]
        )
        cosine = found["row_gradient_cosine"].to_numpy()
        premise = of_runs(found, tables.runs, is_normalised)
        return check_rows(found, "w·∇_w L = 0", "equal", 0.0, cosine, self.tolerance, premise)


@dataclass(frozen=True)
class RowScalingLaw:
    """All hidden rows times c: ‖∇²_WW f‖ and ‖∇_W f‖ become exactly 1/c² and 1/c of what they were, and f stays.

    The premise fails for the un-normalised twin.

    Args:
        tolerance: of arithmetic and of Lanczos, relative.
    """

    tolerance: float = 1e-9

    def __post_init__(self) -> None:
        check_not_negative("tolerance", self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run, snapshot, factor and quantity; the coordinate is c."""
        import pandas as pd

        powers = {"hidden_hessian_norm": (2, "‖∇²_WW f‖ ∝ 1/c²"), "hidden_gradient_norm": (1, "‖∇_W f‖ ∝ 1/c")}
        powers["function_norm"] = (0, "f does not depend on c")
        frames = []
        for quantity, (power, theorem) in powers.items():
            found = wide(tables.measurements, [quantity], by_coordinate=True).dropna(subset=[quantity, "coordinate"])
            unit = found[found["coordinate"] == 1][[*KEYS, "analysis", quantity]]
            found = found.merge(unit, on=[*KEYS, "analysis"], suffixes=("", "_at_1"))
            found = found[found["coordinate"] != 1]
            c, premise = found["coordinate"].to_numpy(), of_runs(found, tables.runs, is_normalised)
            expected = found[f"{quantity}_at_1"].to_numpy() / c**power
            measured, tolerance = found[quantity].to_numpy(), self.tolerance * np.abs(expected)
            frames.append(check_rows(found, theorem, "equal", expected, measured, tolerance, premise, c))
        return pd.concat(frames, ignore_index=True)


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
class GapBound:
    """Test minus training loss is below its bound. It holds with the stated probability over training sets.

    Args:
        tolerance: of arithmetic, in units of the loss.
    """

    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_not_negative("tolerance", self.tolerance)

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per run and snapshot with a bound; the coordinate is n."""
        names = ["gap", "gap_bound", "num_samples"]
        found = wide(tables.measurements, names, by_coordinate=False).dropna(subset=names)
        gap, bound, num = (found[name].to_numpy() for name in names)
        return check_rows(found, "L_D − L̂ ≤ bound", "upper", bound, gap, self.tolerance, True, num)


def wide_by_index(measurements: pd.DataFrame, quantities: list[str]) -> pd.DataFrame:
    """As `rows.wide`, with a row for each index: examples, layers."""
    rows = measurements[measurements["quantity"].isin(quantities) & (measurements["index"] >= 0)]
    keys = [*KEYS, "analysis", "index"]
    table = rows.groupby([*keys, "quantity"])["value"].first().unstack("quantity")
    return table.reindex(columns=quantities).astype(np.float64).reset_index()


def of_runs(rows: pd.DataFrame, runs: pd.DataFrame, holds: Any) -> np.ndarray:
    """For each row whether `holds(run)` is true of its run, a mapping of the run table's columns."""
    wanted = ["dataset", "model", "method", "seed"]
    answers = {tuple(run[key] for key in wanted): bool(holds(run)) for run in runs.to_dict("records")}
    return np.array([answers[key] for key in zip(*(rows[name] for name in wanted), strict=True)], dtype=bool)


def is_normalised(run: Mapping[str, Any]) -> bool:
    """Whether the run's model has normalised rows."""
    spec = run["model_spec"]
    return spec["kind"] == "weight_normed" or (spec["kind"] == "weight_norm_mlp" and spec.get("normalised", True))


def is_plain_descent(run: Mapping[str, Any]) -> bool:
    """Whether steps are η times the gradient of the batch: no momentum, decay or scaling of coordinates."""
    spec = run["method_spec"]
    plain = spec["kind"] in ("sgd", "certified_gd")
    return plain and not any(spec.get(name) for name in ("momentum", "weight_decay"))


def keeps_row_norms(run: Mapping[str, Any]) -> bool:
    """Whether steps cannot shorten normalised rows: gradient descent, also with heavy-ball momentum, without decay."""
    spec = run["method_spec"]
    descent = spec["kind"] in ("sgd", "certified_gd")
    return descent and not any(spec.get(name) for name in ("nesterov", "weight_decay"))


def is_full_batch(run: Mapping[str, Any]) -> bool:
    """Whether every step sees all examples."""
    return run["training"].get("batch_size") == "full"


def check_not_negative(name: str, value: float) -> None:
    """Refuse a negative tolerance.

    Raises:
        ValueError: with the field and its value.
    """
    if not value >= 0:
        raise ValueError(f"{name}: got {value}; allowed: >= 0")
