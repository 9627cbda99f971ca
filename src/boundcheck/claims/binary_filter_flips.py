"""The measured flip ratio beside the formula for white gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.pairs import absences, matching
from boundcheck.claims.rows import RUN
from boundcheck.claims.statistics import student_interval
from boundcheck.contracts import NAN
from boundcheck.theory import binary_filter_flips as theory
from boundcheck.theory.binary_filter import sgd_rates
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

LOCAL_STEPS = 4000  # at most so many steps of a run are propagated


def rates_of(method: Mapping[str, Any], factor: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(α_t, γ_t) of a method variant for the schedule's factors (T,); None where it is no filter of real rates."""
    kind, decay, momentum = method["kind"], method.get("weight_decay", 0.0), method.get("momentum", 0.0)
    if kind == "mapped_filter":
        return rates_of(method["latent"], factor)
    if kind == "bop" and method.get("threshold", 1e-8) < 1e-6:
        return method["gamma"] * factor, np.ones_like(factor)
    if kind == "gradient_filter" and method.get("delta", 1.0) == 1:
        decaying = method.get("decay", ["alpha"])
        alpha, gamma = (
            method.get(name, 1.0) * (factor if name in decaying else np.ones_like(factor))
            for name in ("alpha", "gamma")
        )
        return alpha, gamma
    if kind == "latent_sgd_decoupled" and decay and not method.get("hold_rate"):
        return method["lr"] * decay * factor, np.full_like(factor, 1 - momentum)
    if kind == "latent_sgd" and decay and not method.get("nesterov"):
        rates = sgd_rates(method["lr"] * factor, decay, momentum, method.get("dampening", 0.0))
        return None if np.isnan(rates.alpha).any() else (rates.alpha, rates.gamma)
    return None


def start_variance(method: Mapping[str, Any], model: Mapping[str, Any], gradient_std: float, gamma: float) -> float:
    """Variance of I_0 over the weights, in units of the gradient's: that of U(−c, c) is c²/3."""
    latent = method["latent"] if method["kind"] == "mapped_filter" else method
    scale = model.get("init_scale", 0.1 if model["kind"] == "binary_mlp" else 0.001) * latent.get("init_scale", 1.0)
    if latent["kind"].startswith("latent_"):
        inertia = latent.get("weight_decay", 0.0) * (gamma if latent.get("form") == "heavy_ball" else 1.0)
    else:
        inertia = latent.get("initial_inertia") or 0.0
    return inertia**2 * scale**2 / 3 / gradient_std**2


@dataclass(frozen=True)
class FlipRatioFormula:
    """The flip ratio of each epoch is that of white gradients through the same filter, up to a factor.

    Compared from `from_epoch` to the last epoch but one, as means over epochs; the effect is the geometric mean over
    runs of measured/predicted. `supported` where its 95% interval over seeds lies within [1/`factor`, `factor`],
    `contradicted` where it lies outside. Real gradients have a mean that moves, which the formula knows nothing of.

    Args:
        statement: what is stated.
        reference: where.
        methods: names of methods; patterns are allowed. Those that are no filter of real rates are left out.
        factor: how far measured and predicted may be apart.
        from_epoch: the first epoch that counts.
    """

    statement: str
    reference: str
    methods: Sequence[str]
    factor: float = 2.0
    from_epoch: float = 2.0

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise ValueError(f"factor: got {self.factor}; allowed: > 1")

    def decide(self, tables: Tables) -> Verdict:
        """Predict every run's epochs and compare."""
        courses = self._courses(tables)
        if courses is None or not len(courses):
            planned = matching(list(tables.runs["method"].unique()), self.methods)
            absent = absences(tables.runs[tables.runs["method"].isin(planned)])
            return Verdict("not run", absent or "no run recorded its flip ratio")
        last = courses.groupby(list(RUN))["epoch"].transform("max")
        used = courses[(courses["epoch"] >= self.from_epoch) & (courses["epoch"] < last) & (courses["measured"] > 0)]
        means = used.groupby(list(RUN))[["measured", "predicted"]].mean().reset_index()
        means["log"] = np.log(means["measured"] / means["predicted"])
        interval = student_interval(list(means.groupby("seed")["log"].mean()))
        limit = math.log(self.factor)
        decision: Decision = "inconclusive"
        if interval.low >= -limit and interval.high <= limit:
            decision = "supported"
        elif interval.low > limit or interval.high < -limit:
            decision = "contradicted"
        table = means.groupby(["dataset", "model", "method"]).agg(
            measured=("measured", "mean"), predicted=("predicted", "mean"), log=("log", "mean"), n=("seed", "nunique")
        )
        within = int((table["log"].abs() <= limit).sum())
        table["measured / predicted"] = np.exp(table.pop("log"))
        reason = f"within a factor {self.factor:g} in {within} of {len(table)} cells"
        return Verdict(
            decision,
            reason,
            math.exp(interval.mean),
            math.exp(interval.low),
            math.exp(interval.high),
            unit="measured / predicted",
            num_runs=interval.num,
            cells=[{str(k): v for k, v in row.items()} for row in table.reset_index().to_dict("records")],
            figures=[_course_figure(courses), *_layer_figure(tables, courses)],
        )

    def _courses(self, tables: Tables) -> pd.DataFrame | None:
        """A row per run and epoch: measured, predicted."""
        import pandas as pd

        names = matching(list(tables.runs["method"].unique()), self.methods)
        done = tables.runs[(tables.runs["status"] == "done") & tables.runs["method"].isin(names)]
        curves = tables.curves[tables.curves["method"].isin(names) & (tables.curves["index"] == -1)]
        parts = []
        found: Any = done.itertuples()
        for run in found:
            where = np.logical_and.reduce([curves[key] == getattr(run, key) for key in RUN])
            mine = curves[where]
            table = mine.pivot_table(index=["epoch", "step"], columns="quantity", values="value").reset_index()
            if "flip_ratio" not in table or "lr_factor" not in table:
                continue
            table = table.dropna(subset=["flip_ratio", "lr_factor"]).sort_values("step")
            predicted = self._predicted(run, table)
            if predicted is not None:
                keys = {key: getattr(run, key) for key in RUN}
                part = pd.DataFrame({"epoch": table["epoch"], "measured": table["flip_ratio"], "predicted": predicted})
                parts.append(part.assign(**keys))
        return pd.concat(parts, ignore_index=True) if parts else None

    @staticmethod
    def _predicted(run: Any, table: pd.DataFrame) -> np.ndarray | None:
        steps = np.diff(table["step"].to_numpy(), prepend=0).astype(int)
        if steps.sum() > LOCAL_STEPS:
            return None
        factor = np.repeat(table["lr_factor"].to_numpy(), steps)
        spec = run.method_spec
        if spec["kind"] == "gradient_filter" and spec.get("delta", 1.0) < 1:
            alpha = spec["alpha"] * factor
            ratios = theory.flip_ratio(theory.third_order_correlation(alpha, spec["gamma"], spec["delta"]))
        else:
            rates = rates_of(spec, factor)
            if rates is None:
                return None
            std = float(table["gradient_rms"].iloc[0])
            variance = start_variance(spec, run.model_spec, std, float(rates[1][0])) if std > 0 else 0.0
            ratios = theory.scheduled_flip_ratio(*rates, start_variance=variance)
        return np.array([part.mean() for part in np.split(ratios, np.cumsum(steps)[:-1])])


def _course_figure(courses: pd.DataFrame) -> Figure:
    import pandas as pd

    parts = []
    for role, column in (("measured", "measured"), ("bound", "predicted")):
        groups = courses.groupby(["dataset", "model", "method", "epoch"])[column]
        parts.append(groups.agg(y="mean", low="min", high="max").reset_index().assign(role=role))
    data = pd.concat(parts, ignore_index=True)
    data = data[data["y"] > 0]
    data = data.assign(panel=data["dataset"] + " · " + data["model"]).rename(columns={"method": "series", "epoch": "x"})
    caption = "Flip ratio, mean over each epoch: measured (dots) and the formula for white gradients (dotted)."
    columns = ["panel", "series", "role", "x", "y", "low", "high"]
    return Figure(data[columns], "line", "epoch", "share of bits that flip in a step", caption, log_y=True)


def _layer_figure(tables: Tables, courses: pd.DataFrame) -> list[Figure]:
    """The flip ratio of every layer, a panel for each method."""
    import pandas as pd

    wanted = courses[list(RUN)].drop_duplicates()
    rows = tables.curves[(tables.curves["quantity"] == "flip_ratio") & (tables.curves["index"] >= 0)]
    rows = rows.merge(wanted, on=list(RUN))
    if not len(rows):
        return []
    groups = rows.groupby(["dataset", "model", "method", "index", "epoch"])["value"]
    data = groups.agg(y="mean", low="min", high="max").reset_index()
    predicted = courses.groupby(["dataset", "model", "method", "epoch"])["predicted"].mean().reset_index(name="y")
    predicted = predicted.assign(index="formula", low=NAN, high=NAN, role="bound")
    data = data.assign(index=[f"layer {i}" for i in data["index"]], role="measured")
    data = pd.concat([data, predicted], ignore_index=True)
    data = data[data["y"] > 0].rename(columns={"index": "series", "epoch": "x"})
    data = data.assign(panel=data["method"] + " · " + data["model"])
    kept = list(dict.fromkeys(data["panel"]))[:6]
    caption = "Flip ratio of every binary layer (dots) and the formula, which is the same for all of them (dotted)."
    columns = ["panel", "series", "role", "x", "y", "low", "high"]
    data = data[data["panel"].isin(kept)]
    return [Figure(data[columns], "line", "epoch", "share of bits that flip in a step", caption, log_y=True)]
