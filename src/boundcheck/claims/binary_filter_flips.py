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
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 100_000  # steps of a run, at most, that are propagated
RATES = ("alpha", "gamma", "delta")


def predicted_ratios(
    method: Mapping[str, Any], model: Mapping[str, Any], factor: np.ndarray, gradient_std: float
) -> np.ndarray | None:
    """Flip ratio (T,) of a method variant by theory; None where it is no filter of the gradient alone.

    Args:
        method: the variant.
        model: that of the network, for the scale of the start.
        factor: the schedule's factors, (T,).
        gradient_std: standard deviation of a weight's gradient, for a start that is remembered.
    """
    kind, decay, momentum = method["kind"], method.get("weight_decay", 0.0), method.get("momentum", 0.0)
    if kind == "mapped_filter":
        return predicted_ratios(method["latent"], model, factor, gradient_std)
    start = _latent_variance(method, model) / gradient_std**2 if gradient_std > 0 else 0.0
    if kind == "bop" and method.get("threshold", 1e-8) < 1e-6:
        return theory.scheduled_flip_ratio(
            method["gamma"] * (factor if method.get("decay", True) else 1.0 + 0 * factor)
        )
    if kind == "gradient_filter":
        decaying, preset = method.get("decay", ["alpha"]), start * (method.get("initial_inertia") or 0.0) ** 2
        rates = [method.get(rate, 1.0) * (factor if rate in decaying else 1.0 + 0 * factor) for rate in RATES]
        return theory.scheduled_flip_ratio(*rates, start_variance=preset, start_momentum=preset)
    if kind == "latent_sgd_decoupled" and decay and not method.get("hold_rate"):
        inertia = decay * (1 - momentum if method.get("form") == "heavy_ball" else 1.0)
        alpha = method["lr"] * decay * factor
        return theory.scheduled_flip_ratio(alpha, 1 - momentum, start_variance=start * inertia**2)
    if kind in ("latent_sgd", "state_space_filter"):
        rate = method["rate"] if kind == "state_space_filter" else method["lr"] * decay
        inertia = decay if kind == "latent_sgd" else method.get("initial_inertia", 0.0)
        form = momentum, method.get("dampening", 0.0), method.get("nesterov", False)
        if rate:
            return theory.scheduled_sgd_flip_ratio(rate * factor, *form, start_variance=start * inertia**2)
    return None


def _latent_variance(method: Mapping[str, Any], model: Mapping[str, Any]) -> float:
    """That of the initial latent weights: c²/3 of U(−c, c)."""
    scale = model.get("init_scale", 0.1 if model["kind"] == "binary_mlp" else 0.001) * method.get("init_scale", 1.0)
    return 0.0 if model.get("init", "uniform") == "zero" else scale**2 / 3


@dataclass(frozen=True)
class FlipRatioFormula:
    """The flip ratio of each epoch is that of white gradients through the same filter, up to a factor.

    Compared from `from_epoch` to the last epoch but one, as means over epochs; the effect is the geometric mean over
    runs of measured/predicted. `supported` where its 95% interval over seeds lies within [1/`factor`, `factor`],
    `contradicted` where it lies outside. Real gradients have a mean that moves, which the formula knows nothing of.

    Args:
        statement: what is stated.
        reference: where.
        methods: names of methods; patterns are allowed. Those that are no filter of the gradient alone are left out.
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
        if steps.sum() > LONGEST:
            return None
        factor = np.repeat(table["lr_factor"].to_numpy(), steps)
        ratios = predicted_ratios(run.method_spec, run.model_spec, factor, float(table["gradient_rms"].iloc[0]))
        return None if ratios is None else np.array([p.mean() for p in np.split(ratios, np.cumsum(steps)[:-1])])


def _course_figure(courses: pd.DataFrame) -> Figure:
    import pandas as pd

    parts = []
    for role, column in (("measured", "measured"), ("formula", "predicted")):
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
    predicted = predicted.assign(index="every layer", low=NAN, high=NAN, role="formula")
    data = data.assign(index=[f"layer {i}" for i in data["index"]], role="measured")
    data = pd.concat([data, predicted], ignore_index=True)
    data = data[data["y"] > 0].rename(columns={"index": "series", "epoch": "x"})
    data = data.assign(panel=data["method"] + " · " + data["model"])
    kept = list(dict.fromkeys(data["panel"]))[:6]
    caption = "Flip ratio of every binary layer (dots) and the formula, which is the same for all of them (dotted)."
    columns = ["panel", "series", "role", "x", "y", "low", "high"]
    data = data[data["panel"].isin(kept)]
    return [Figure(data[columns], "line", "epoch", "share of bits that flip in a step", caption, log_y=True)]
