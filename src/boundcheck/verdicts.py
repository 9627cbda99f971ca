"""What decides the papers: the tables of results, checks of theorems, claims with their verdicts and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from boundcheck.contracts import NAN

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ArraysBySeed = Mapping[int, Mapping[str, "np.ndarray"]]
Sense = Literal["upper", "lower", "equal"]
Decision = Literal["supported", "contradicted", "inconclusive", "vacuous", "not run"]


def no_arrays(dataset: str, model: str, method: str, name: str) -> ArraysBySeed:
    """`Tables.arrays` where no callback left any."""
    return {}


class Views:
    """What several checks and claims make of one frame of the tables, made once. It lives as long as the tables do."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Callable[..., Any]], tuple[pd.DataFrame, Any]] = {}

    def of(self, frame: pd.DataFrame, make: Callable[[pd.DataFrame], Any]) -> Any:
        """`make(frame)`, which nobody changes: the same object for the same frame every time."""
        key = id(frame), make
        if key not in self._made:
            self._made[key] = frame, make(frame)  # the frame is kept, so that no other can get its id
        return self._made[key][1]


class Tables(NamedTuple):
    """What checks and claims decide from: tidy frames with the keys dataset, model, method, seed.

    `curves`, `measurements`: the tidy form (measurements with a column `analysis`); `checks`: as tables.CHECKS;
    `runs`: one row per run with `status` (done, diverged, missing), `reason`, and the resolved settings of its cell:
    dicts `method_spec`, `model_spec`, `dataset_spec`, `training`, lists `record` and `roles`; `skipped`: cells that
    make no sense, with the reason.
    `arrays(dataset, model, method, name)`: by seed, the arrays that the callback `name` left, read when asked for;
    empty where there are none. `views`: what is derived from these frames once, where somebody keeps it.
    """

    curves: pd.DataFrame
    measurements: pd.DataFrame
    checks: pd.DataFrame
    runs: pd.DataFrame
    skipped: pd.DataFrame
    arrays: Callable[[str, str, str, str], ArraysBySeed] = no_arrays
    views: Views | None = None

    def view(self, frame: pd.DataFrame, make: Callable[[pd.DataFrame], Any]) -> Any:
        """`make(frame)` of one of these frames, made once where the tables keep `views`."""
        return make(frame) if self.views is None else self.views.of(frame, make)


class Check(Protocol):
    """One theorem, checked wherever the tables hold what it needs."""

    def rows(self, tables: Tables) -> pd.DataFrame:
        """Keys, step, and: theorem, sense, bound, measured, tolerance, premise_holds, holds, tightness."""


@dataclass(frozen=True)
class Figure:
    """One row of panels in the report. `data` is tidy: panel, series, role, x, y, low, high; y is finite.

    `panel` titles one axes, `series` names what has a colour. What the other columns mean, by `mark`:

    - "line", "points": y against x, with the range from low to high. `role` says what y is: "measured" (a line with
      its band; dots with bars beside a bound, or where there is a single x), or a theorem's "bound" or "upper bound"
      (dotted), "lower bound" (dash-dotted), or what a "formula" predicts (dotted), whose low and high are not drawn.
    - "interval": a row per entry under the name of its panel, y its effect and [low, high] its confidence interval
      (NaN: none, drawn hollow), with a line at 0; an entry with panel "" stands on its own (the pooled one). x is not
      used, role is "measured".
    - "heatmap": a cell per (x, series): x its column, series its row, y its colour; low and high are not used, role
      is "measured".
    - "picture": a grey pixel per (x, series): x its column, series its row, both whole numbers, y its lightness from 0
      to 1; columns without pixels part pictures that stand side by side, and panels stand below each other, the same
      column above the same; low and high are not used, role is "measured".
    """

    data: pd.DataFrame
    mark: Literal["line", "points", "interval", "heatmap", "picture"]
    x_label: str
    y_label: str  # for a heat map, what its colours mean
    caption: str
    log_x: bool = False  # of lines and points
    log_y: bool = False


@dataclass(frozen=True)
class Reason:
    """One part of why a claim is decided so: its kind, which report/reasons.py puts into words, and what it says.

    `values` are numbers, texts, names of cells as (dataset, model, method), or lists and mappings of these.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)


def because(kind: str, /, **values: Any) -> Reason:
    """A reason of this kind with these values."""
    return Reason(kind, values)


@dataclass(frozen=True)
class Verdict:
    """What the curves say of a claim. `effect` with its 95% interval is in `unit`; `num_runs` is its n."""

    decision: Decision
    reason: Sequence[Reason]  # its parts in order
    effect: float = NAN
    low: float = NAN
    high: float = NAN
    unit: str = ""
    num_runs: int = 0
    num_runs_needed: int | None = None  # at which n an inconclusive interval would exclude 0
    tightness: float = NAN
    cells: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # the evidence, a row per (dataset, model)
    figures: Sequence[Figure] = ()


class Claim(Protocol):
    """What decides a statement of a paper. The statement itself is for the report alone."""

    def decide(self, tables: Tables) -> Verdict: ...
