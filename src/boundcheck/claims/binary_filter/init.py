"""How long a latent start delays the flips, beside the prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from boundcheck.claims.binary_filter.relations import MAGNITUDES, are_comparable, are_equal_but
from boundcheck.claims.shared.figures import averaged
from boundcheck.claims.shared.kinds import model_of
from boundcheck.claims.shared.rows import RUN, records
from boundcheck.claims.shared.selection import CELL, CellKey, Cells, SelectsCells, Settings, cells_of
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.claims.shared.values import absent_runs
from boundcheck.contracts import NAN
from boundcheck.settings import settings
from boundcheck.theory.binary_filter.fade import extra_fade_steps, fade_steps
from boundcheck.verdicts import Figure, Tables, Verdict, because


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
        pairs = permutations(selected, 2)
        return sorted({one for one, other in pairs if _is_family(cells[one], cells[other])})

    def decide(self, tables: Tables) -> Verdict:
        """Compare the delays of all scales with those of the smallest scale."""
        tables = self.only(tables)
        runs = pd.DataFrame(self._runs(tables), columns=[*RUN, "scale", "alpha", "is_remembered", "delay", "bits"])
        forgotten = sorted(set(runs.loc[runs["is_remembered"].eq(False), "scale"]))
        too_small = [because("forgotten_starts", scales=forgotten)] if forgotten else []
        runs = runs[~runs["scale"].isin(forgotten)]
        if runs["scale"].nunique() < 2:
            return Verdict("not run", [*(absent_runs(tables.runs) or [because("few_starts")]), *too_small])
        delays = _beside_smallest(runs)
        logs = delays.assign(log=_logs(delays)).dropna(subset=["log"])
        if logs.empty:
            return Verdict("not run", [because("few_flips", share=self.share)])
        interval = student_interval([part["log"].mean() for _, part in logs.groupby("seed", sort=False)])
        means = delays.groupby(["scale", *CELL])[["delay", "extra", "predicted", "equal"]].mean().reset_index()
        ended = _logs(means).dropna()
        num_far = int((ended.abs() > math.log(self.factor)).sum())
        numbers = {"num": len(ended) - num_far, "num_scales": len(ended)}
        num_unended = int((means["predicted"] > 0).sum()) - len(ended)
        return Verdict(
            "contradicted" if num_far else "supported",
            [because("delays", factor=self.factor, **numbers, num_unended=num_unended), *too_small],
            **interval.exp().as_effect("measured / predicted delay"),
            cells=self._evidence(delays, means),
            figures=[_figure(delays)],
        )

    def _runs(self, tables: Tables) -> Iterator[tuple[Any, ...]]:
        """The finished runs that recorded their bits and gradients.

        Of each its keys, the scale of its start, ελ, whether the start outweighs the noise of the gradients, the steps
        until enough weights have flipped (NaN if they never have), and its bits at the end.
        """
        cells = cells_of(tables.runs)
        gradients = tables.curves[tables.curves["quantity"] == "gradient_rms"]
        largest = gradients.groupby(list(RUN))["value"].max()
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        for *names, seed in done.itertuples(index=False, name=None):
            key: CellKey = names[0], names[1], names[2]
            arrays = tables.arrays(*key, "bits").get(seed)
            noise = float(largest.get((*key, seed), NAN))
            if arrays is None or not noise > 0:
                continue
            bits = np.unpackbits(arrays["bits"], axis=1, count=int(arrays["num_weights"]), bitorder="little")  # (T, n)
            ever_flipped = np.logical_or.accumulate(bits != bits[0], axis=0).mean(1)
            reached = np.flatnonzero(ever_flipped >= self.share)
            delay = float(arrays["steps"][reached[0]]) if len(reached) else NAN
            method, model = cells[key]["method"], model_of(cells[key])
            scale, lr, decay = (method[name] for name in MAGNITUDES)
            start = math.sqrt(model.latent_variance(scale))
            yield *key, seed, scale, lr * decay, bool(fade_steps(start, lr, decay, noise).is_delayed), delay, bits[-1]

    def _evidence(self, delays: pd.DataFrame, means: pd.DataFrame) -> list[dict[str, Any]]:
        """A row for each cell."""
        names = {
            "scale": "init scale",
            "delay": f"steps to {100 * self.share:g}% flipped",
            "extra": "extra steps",
            "predicted": "predicted",
            "equal": "bits equal to the smallest start's at the end (%)",
        }
        num = delays.groupby(["scale", *CELL]).size().to_numpy()
        return records(means[[*CELL, *names]].rename(columns=names).assign(n=num))


def _is_family(one: Settings, other: Settings) -> bool:
    """Whether two trainings differ in the start only."""
    return are_comparable(one, other) and are_equal_but(["init_scale"], one["method"], other["method"])


def _beside_smallest(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs beside those of the smallest start, of equal network and seed.

    With the steps by which a run flips later, `extra`, and those `predicted`, and the percent of bits that both have
    in common at the end, `equal`. The first and the last are NaN where one of the two never flipped enough.
    """
    smallest, keys = runs["scale"].min(), ["dataset", "model", "seed"]
    base = runs[runs["scale"] == smallest].drop_duplicates(keys, keep="last")
    both = runs.merge(base[[*keys, "delay", "bits"]], on=keys, how="left", suffixes=("", "_of_base"))
    equal = [100 * float(np.mean(mine == base)) for mine, base in zip(both["bits"], both["bits_of_base"], strict=True)]
    return both.assign(
        extra=both["delay"] - both["delay_of_base"],
        equal=pd.Series(equal).where(both["bits_of_base"].notna()),
        predicted=extra_fade_steps(both["scale"].to_numpy() / smallest, both["alpha"].to_numpy()),
    )


def _logs(delays: pd.DataFrame) -> pd.Series:
    """Logarithm of measured over predicted delays, at least a step measured; NaN where one of the two is not there."""
    ratio = delays["extra"].clip(lower=1.0) / delays["predicted"].where(delays["predicted"] > 0)
    return ratio.map(math.log, na_action="ignore")


def _figure(delays: pd.DataFrame) -> Figure:
    rows = delays.dropna(subset=["extra"]).rename(columns={"scale": "x"}).assign(series="latent SGD")
    data = pd.concat([averaged(rows, "extra"), averaged(rows, "predicted", "formula")], ignore_index=True)
    caption = "Extra steps until the weights flip, by the scale of the start: measured (dots), ln(s)/α (dotted)."
    return Figure(data, "line", "scale of the start", "extra steps", caption, log_x=True)
