"""The contracts of the check stage: tables of results, checks of theorems, and claims with verdicts and figures."""

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
    """The default of `Tables.arrays`: no callback left any arrays."""
    return {}


class Views:
    """A cache of what several checks and claims compute from one frame. It lives as long as the tables."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Callable[..., Any]], tuple[pd.DataFrame, Any]] = {}

    def of(self, frame: pd.DataFrame, make: Callable[[pd.DataFrame], Any]) -> Any:
        """`make(frame)`, computed once for each frame. Callers must not change the result."""
        key = id(frame), make
        if key not in self._made:
            self._made[key] = frame, make(frame)  # the frame is kept, so that no other can get its id
        return self._made[key][1]


class Tables(NamedTuple):
    """The input of checks and claims: tidy frames with the keys dataset, model, method, seed.

    - `curves`, `measurements`: as tables.TIDY and tables.MEASUREMENTS.
    - `checks`: as tables.CHECKS.
    - `runs`: one row per run with `status` (done, diverged, missing), `reason`, and the resolved settings of its cell:
      the dicts `method_spec`, `model_spec`, `dataset_spec`, `training` and the lists `record` and `roles`.
    - `skipped`: cells that are not run because they make no sense, with the reason.
    - `arrays(dataset, model, method, name)`: the arrays that the callback `name` left, by seed; empty if there are
      none. They are read when the function is called.
    - `views`: the cache for `view`; None: no cache.
    """

    curves: pd.DataFrame
    measurements: pd.DataFrame
    checks: pd.DataFrame
    runs: pd.DataFrame
    skipped: pd.DataFrame
    arrays: Callable[[str, str, str, str], ArraysBySeed] = no_arrays
    views: Views | None = None

    def view(self, frame: pd.DataFrame, make: Callable[[pd.DataFrame], Any]) -> Any:
        """`make(frame)` for one of these frames; computed once if the tables have `views`."""
        return make(frame) if self.views is None else self.views.of(frame, make)


class Check(Protocol):
    """One theorem, checked on every run whose tables have the quantities that it needs."""

    def rows(self, tables: Tables) -> pd.DataFrame:
        """One row per comparison, with the columns of tables.CHECKS except `check`."""


@dataclass(frozen=True)
class Figure:
    """One row of panels in the report. `data` is tidy: panel, series, role, x, y, low, high; y is finite.

    `panel` is the title of a panel. Each `series` has a colour. The other columns depend on `mark`:

    - "line", "points": y against x, with the range from low to high. `role` says what y is: "measured" (a line with
      a band; dots with bars if there is a bound or only one x), a theorem's "bound" or "upper bound" (dotted) or
      "lower bound" (dash-dotted), or the prediction of a "formula" (dotted). Only "measured" has low and high.
    - "interval": one row per entry, below the name of its panel. y is the effect and [low, high] its confidence
      interval (NaN: none, drawn hollow); a line marks 0. An entry with panel "" has no heading (the pooled effect). x
      is not used; role is "measured".
    - "heatmap": one cell per (x, series): x is its column, series its row, y its colour. low and high are not used;
      role is "measured".
    - "picture": one grey pixel per (x, series): x is its column, series its row (both integers), y its lightness from
      0 to 1. Columns without pixels separate pictures that are side by side. Panels are drawn below each other with
      aligned columns. low and high are not used; role is "measured".
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
    """One reason for a verdict: a kind and its values, from which report/reasons.py makes a sentence.

    `values` are numbers, texts, names of cells as (dataset, model, method), or lists and mappings of these.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)


def because(kind: str, /, **values: Any) -> Reason:
    """Make a `Reason` of this kind with these values."""
    return Reason(kind, values)


@dataclass(frozen=True)
class Verdict:
    """The decision about a claim. `effect` and its 95% interval are in `unit`; `num_runs` is the number of runs n."""

    decision: Decision
    reason: Sequence[Reason]  # in the order of their sentences
    effect: float = NAN
    low: float = NAN
    high: float = NAN
    unit: str = ""
    num_runs: int = 0
    num_runs_needed: int | None = None  # the n at which an inconclusive interval would exclude 0
    tightness: float = NAN
    cells: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # the evidence, a row per (dataset, model)
    figures: Sequence[Figure] = ()


class Claim(Protocol):
    """Decides one statement of a paper. The words of the statement are used in the report only."""

    def decide(self, tables: Tables) -> Verdict:
        """The verdict on the cells that the claim selects. It is "not run" where they have no results."""
