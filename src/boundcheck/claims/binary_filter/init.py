"""How long a latent start delays the flips, beside the prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundcheck.claims.binary_filter.flips import latent_variance
from boundcheck.claims.dag_momentum.steps import joined
from boundcheck.claims.shared.pairs import absences, matching
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import student_interval
from boundcheck.contracts import NAN
from boundcheck.theory.binary_filter.fade import extra_fade_steps, fade_steps
from boundcheck.verdicts import Figure, Tables, Verdict


@dataclass(frozen=True)
class InitDelays:
    """A latent start that outweighs the gradients' noise, made s times larger, delays the flips by ln(s)/α steps.

    The delay of a run is the first recorded step at which a share `share` of all weights has flipped at least once.
    Its difference from the run of the smallest start that is remembered is compared with the prediction; `supported`
    where all means lie within a factor `factor` of it. A start is remembered if in all its runs its root mean square is
    that of a weight that `fade_steps` calls delayed, for the largest root mean square of gradients that was recorded;
    the others are left out and named. On one and the same sequence of gradients a start does nothing
    else; in training the late flips meet other gradients, so that the bits never come to agree. How many do at the
    end is shown beside, and decides nothing.

    Args:
        statement: what the paper states.
        reference: where it does.
        methods: latent SGD without momentum, with several `init_scale`; patterns are allowed.
        share: the share of weights.
        factor: how far measured and predicted delays may be apart.
    """

    statement: str
    reference: str
    methods: Sequence[str]
    share: float = 0.25
    factor: float = 1.5

    def __post_init__(self) -> None:
        for name, value, low, high in (("share", self.share, 0, 1), ("factor", self.factor, 1, math.inf)):
            if not low < value < high:
                raise ValueError(f"{name}: got {value}; allowed: between {low} and {high}")

    def decide(self, tables: Tables) -> Verdict:
        """Compare the delays of all scales with those of the smallest."""
        rows = self._delays(tables)
        forgotten = sorted({row["scale"] for row in rows if not row["remembered"]})
        named = ", ".join(f"{scale:g}" for scale in forgotten)
        too_small = f"no heavier than the gradients' noise: scale {named}" if forgotten else ""
        rows = [row for row in rows if row["scale"] not in forgotten]
        scales = sorted({row["scale"] for row in rows})
        if len(scales) < 2:
            planned = matching(list(tables.runs["method"].unique()), self.methods)
            absent = absences(tables.runs[tables.runs["method"].isin(planned)])
            few = "fewer than two starts have bits and gradients that were recorded, and are remembered"
            return Verdict("not run", joined(absent or few, too_small))
        base = {(r["dataset"], r["model"], r["seed"]): r for r in rows if r["scale"] == scales[0]}
        for row in rows:
            smallest = base.get((row["dataset"], row["model"], row["seed"]))
            row["extra"] = NAN if smallest is None else row["delay"] - smallest["delay"]
            row["equal"] = NAN if smallest is None else 100 * float((row["last"] == smallest["last"]).mean())
            row["predicted"] = float(extra_fade_steps(row["scale"] / scales[0], row["alpha"]))
        compared = [row for row in rows if row["scale"] > scales[0] and math.isfinite(row["extra"])]
        if not compared:
            return Verdict("not run", f"no run flipped {100 * self.share:g}% of its weights")
        logs: dict[int, list[float]] = {}
        for row in compared:
            logs.setdefault(row["seed"], []).append(math.log(max(row["extra"], 1.0) / row["predicted"]))
        interval = student_interval([float(np.mean(values)) for values in logs.values()])
        cells = self._cells(rows)
        limit = math.log(self.factor)
        larger = [cell for cell in cells if cell["predicted"] > 0 and math.isfinite(cell["extra steps"])]
        far = [c for c in larger if not abs(math.log(max(c["extra steps"], 1.0) / c["predicted"])) <= limit]
        within = f"{len(larger) - len(far)} of {len(larger)} scales"
        reason = f"within a factor {self.factor:g} of the prediction at {within}"
        if len(larger) < len(cells) - 1:
            reason += f"; at {len(cells) - 1 - len(larger)} the training ended before"
        return Verdict(
            "contradicted" if far else "supported",
            joined(reason, too_small),
            math.exp(interval.mean),
            math.exp(interval.low),
            math.exp(interval.high),
            unit="measured / predicted delay",
            num_runs=interval.num,
            cells=cells,
            figures=[self._figure(rows)],
        )

    def _delays(self, tables: Tables) -> list[dict[str, Any]]:
        rows = []
        names = matching(list(tables.runs["method"].unique()), self.methods)
        done = tables.runs[(tables.runs["status"] == "done") & tables.runs["method"].isin(names)]
        gradients = tables.curves[tables.curves["quantity"] == "gradient_rms"]
        found: Any = done.itertuples()
        for run in found:
            arrays = tables.arrays(run.dataset, run.model, run.method, "bits").get(run.seed)
            where = np.logical_and.reduce([gradients[key] == getattr(run, key) for key in RUN])
            noise = float(gradients["value"][where].max())
            if arrays is None or not noise > 0:
                continue
            n = int(arrays["num_weights"])
            bits = np.unpackbits(arrays["bits"], axis=1, count=n, bitorder="little")  # (T, n)
            ever = np.logical_or.accumulate(bits != bits[0], axis=0).mean(1)
            reached = np.flatnonzero(ever >= self.share)
            spec = run.method_spec
            start = math.sqrt(latent_variance(spec, run.model_spec))
            rows.append(
                {
                    **{key: getattr(run, key) for key in RUN},
                    "scale": spec.get("init_scale", 1.0),
                    "alpha": spec["lr"] * spec["weight_decay"],
                    "remembered": bool(fade_steps(start, spec["lr"], spec["weight_decay"], noise).is_delayed),
                    "delay": float(arrays["steps"][reached[0]]) if len(reached) else NAN,
                    "last": bits[-1],
                }
            )
        return rows

    def _cells(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        groups: dict[Any, list[Mapping[str, Any]]] = {}
        for row in rows:
            groups.setdefault((row["scale"], row["dataset"], row["model"], row["method"]), []).append(row)
        return [
            {
                "dataset": dataset,
                "model": model,
                "method": method,
                "init scale": scale,
                f"steps to {100 * self.share:g}% flipped": _mean([row["delay"] for row in group]),
                "extra steps": _mean([row["extra"] for row in group]),
                "predicted": group[0]["predicted"],
                "bits equal to the smallest start's at the end (%)": _mean([row["equal"] for row in group]),
                "n": len(group),
            }
            for (scale, dataset, model, method), group in sorted(groups.items())
        ]

    def _figure(self, rows: Sequence[Mapping[str, Any]]) -> Figure:
        import pandas as pd

        frame = pd.DataFrame(list(rows)).dropna(subset=["extra"])
        groups = frame.groupby(["dataset", "model", "scale"])
        data = groups["extra"].agg(y="mean", low="min", high="max").reset_index().assign(role="measured")
        bound = groups["predicted"].mean().reset_index(name="y").assign(role="formula", low=NAN, high=NAN)
        data = pd.concat([data, bound], ignore_index=True)
        data = data.assign(panel=data["dataset"] + " · " + data["model"], series="latent SGD")
        data = data.rename(columns={"scale": "x"})
        caption = "Extra steps until the weights flip, by the scale of the start: measured (dots), ln(s)/α (dotted)."
        columns = ["panel", "series", "role", "x", "y", "low", "high"]
        return Figure(data[columns], "line", "scale of the start", "extra steps", caption, log_x=True)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else NAN
