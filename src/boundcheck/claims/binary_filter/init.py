"""How long a latent start delays the flips, beside the prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.selection import CellKey, Cells, SelectsCells, Settings, cells_of, is_equal
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import absent_runs
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.theory.binary_filter.fade import extra_fade_steps, fade_steps
from boundcheck.verdicts import Figure, Reason, Tables, Verdict, because

START = ("init_scale", "name")  # what the trainings of a family do not share


class Run(NamedTuple):
    """One run: when its weights flipped, and what theory needs to predict that."""

    cell: CellKey
    seed: int
    scale: float  # of the start
    alpha: float  # ελ
    is_remembered: bool  # whether the start outweighs the noise of the gradients
    delay: float  # steps until enough weights have flipped; NaN if they never have
    last_bits: np.ndarray  # (n,) 0 or 1


class Delay(NamedTuple):
    """One run beside that of the smallest remembered start, of the same seed."""

    run: Run
    extra: float  # steps by which it flips later; NaN where one of the two never flipped enough
    equal: float  # percent of the bits that both have in common at the end
    predicted: float  # of `extra`


@settings(kw_only=True)
class InitDelays(SelectsCells):
    """A latent start that outweighs the gradients' noise, made s times larger, delays the flips by ln(s)/α steps.

    Selected are trainings by latent SGD without momentum that differ in `init_scale` only, two or more of a network.
    The delay of a run is the first recorded step at which a share `share` of all weights has flipped at least once.
    Its difference from the run of the smallest start that is remembered is compared with the prediction; `supported`
    where all means lie within a factor `factor` of it. A start is remembered if in all its runs its root mean square is
    that of a weight that `fade_steps` calls delayed, for the largest root mean square of gradients that was recorded;
    the others are left out and named. On one and the same sequence of gradients a start does nothing
    else; in training the late flips meet other gradients, so that the bits never come to agree. How many do at the
    end is shown beside, and decides nothing.

    Args:
        share: the share of weights.
        factor: how far measured and predicted delays may be apart.
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.5

    def chosen(self, cells: Cells) -> list[CellKey]:
        """The selected cells that differ from another one in the start only, sorted."""
        selected = super().chosen(cells)
        return [key for key in selected if any(_is_family(cells[key], cells[o]) for o in selected if o != key)]

    def decide(self, tables: Tables) -> Verdict:
        """Compare the delays of all scales with those of the smallest."""
        tables = self.only(tables)
        runs = list(self._runs(tables))
        forgotten = sorted({run.scale for run in runs if not run.is_remembered})
        too_small = [because("forgotten_starts", scales=forgotten)] if forgotten else []
        runs = [run for run in runs if run.scale not in forgotten]
        if len({run.scale for run in runs}) < 2:
            return Verdict("not run", [*(absent_runs(tables.runs) or [because("few_starts")]), *too_small])
        delays = _delays(runs)
        logs: dict[int, list[float]] = {}
        for delay in delays:
            if delay.predicted > 0 and math.isfinite(delay.extra):
                log = math.log(max(delay.extra, 1.0) / delay.predicted)
                logs.setdefault(delay.run.seed, []).append(log)
        if not logs:
            return Verdict("not run", [because("few_flips", share=self.share)])
        interval = student_interval([float(np.mean(values)) for values in logs.values()])
        cells = self._table(delays)
        num_far, reason = self._reason(cells)
        return Verdict(
            "contradicted" if num_far else "supported",
            [reason, *too_small],
            math.exp(interval.mean),
            math.exp(interval.low),
            math.exp(interval.high),
            unit="measured / predicted delay",
            num_runs=interval.num,
            cells=cells,
            figures=[_figure(delays)],
        )

    def _reason(self, cells: Sequence[Mapping[str, Any]]) -> tuple[int, Reason]:
        """At how many scales the delay lies too far from its prediction, and what is said of it."""
        larger = [cell for cell in cells if cell["predicted"] > 0]
        ended = [cell for cell in larger if math.isfinite(cell["extra steps"])]
        logs = [math.log(max(cell["extra steps"], 1.0) / cell["predicted"]) for cell in ended]
        num_far = sum(not abs(log) <= math.log(self.factor) for log in logs)
        numbers = {"num": len(ended) - num_far, "num_scales": len(ended), "num_unended": len(larger) - len(ended)}
        return num_far, because("delays", factor=self.factor, **numbers)

    def _runs(self, tables: Tables) -> Iterator[Run]:
        """The finished runs that recorded their bits and gradients."""
        cells = cells_of(tables.runs)
        gradients = tables.curves[tables.curves["quantity"] == "gradient_rms"]
        largest = gradients.groupby(list(RUN))["value"].max()
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        for *names, seed in done.itertuples(index=False, name=None):
            key: CellKey = names[0], names[1], names[2]
            arrays = tables.arrays(*key, "bits").get(seed)
            noise = float(largest.get((*key, seed), NAN))
            if arrays is not None and noise > 0:
                yield self._run(key, seed, cells[key], arrays, noise)

    def _run(self, key: CellKey, seed: int, cell: Settings, arrays: Mapping[str, np.ndarray], noise: float) -> Run:
        method, model = cell["method"], model_of(cell)
        bits = np.unpackbits(arrays["bits"], axis=1, count=int(arrays["num_weights"]), bitorder="little")  # (T, n)
        ever_flipped = np.logical_or.accumulate(bits != bits[0], axis=0).mean(1)
        reached = np.flatnonzero(ever_flipped >= self.share)
        start = math.sqrt(model.latent_variance(method["init_scale"]))
        return Run(
            key,
            seed,
            method["init_scale"],
            method["lr"] * method["weight_decay"],
            bool(fade_steps(start, method["lr"], method["weight_decay"], noise).is_delayed),
            float(arrays["steps"][reached[0]]) if len(reached) else NAN,
            bits[-1],
        )

    def _table(self, delays: Sequence[Delay]) -> list[dict[str, Any]]:
        groups: dict[Any, list[Delay]] = {}
        for delay in delays:
            groups.setdefault((delay.run.scale, *delay.run.cell), []).append(delay)
        return [
            {
                "dataset": dataset,
                "model": model,
                "method": method,
                "init scale": scale,
                f"steps to {100 * self.share:g}% flipped": _mean([delay.run.delay for delay in group]),
                "extra steps": _mean([delay.extra for delay in group]),
                "predicted": group[0].predicted,
                "bits equal to the smallest start's at the end (%)": _mean([delay.equal for delay in group]),
                "n": len(group),
            }
            for (scale, dataset, model, method), group in sorted(groups.items())
        ]


def _is_family(one: Settings, other: Settings) -> bool:
    """Whether two trainings differ in the start only."""
    methods = [{name: value for name, value in cell["method"].items() if name not in START} for cell in (one, other)]
    same_network = all(one[key]["name"] == other[key]["name"] for key in ("dataset", "model"))
    return same_network and is_equal(*methods) and is_equal(one["training"], other["training"])


def _delays(runs: Sequence[Run]) -> list[Delay]:
    """Every run beside that of the smallest start."""
    smallest_scale = min(run.scale for run in runs)
    smallest = {(*run.cell[:2], run.seed): run for run in runs if run.scale == smallest_scale}
    delays = []
    for run in runs:
        base = smallest.get((*run.cell[:2], run.seed))
        extra = NAN if base is None else run.delay - base.delay
        equal = NAN if base is None else 100 * float((run.last_bits == base.last_bits).mean())
        delays.append(Delay(run, extra, equal, float(extra_fade_steps(run.scale / smallest_scale, run.alpha))))
    return delays


def _figure(delays: Sequence[Delay]) -> Figure:
    rows = [(" · ".join(d.run.cell[:2]), d.run.scale, d.extra, d.predicted) for d in delays if math.isfinite(d.extra)]
    groups = pd.DataFrame(rows, columns=["panel", "x", "extra", "predicted"]).groupby(["panel", "x"])
    data = groups["extra"].agg(y="mean", low="min", high="max").reset_index().assign(role="measured")
    formula = groups["predicted"].mean().reset_index(name="y").assign(role="formula", low=NAN, high=NAN)
    data = pd.concat([data, formula], ignore_index=True).assign(series="latent SGD")
    caption = "Extra steps until the weights flip, by the scale of the start: measured (dots), ln(s)/α (dotted)."
    columns = ["panel", "series", "role", "x", "y", "low", "high"]
    return Figure(data[columns], "line", "scale of the start", "extra steps", caption, log_x=True)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else NAN
