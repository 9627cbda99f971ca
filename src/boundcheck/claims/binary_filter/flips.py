"""The measured flip ratio beside the formula for white gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcheck.claims.shared.pairs import absences, matching
from boundcheck.claims.shared.rows import RUN
from boundcheck.claims.shared.statistics import Interval, student_interval
from boundcheck.contracts import NAN
from boundcheck.theory.binary_filter import flips as theory
from boundcheck.verdicts import Decision, Figure, Tables, Verdict

if TYPE_CHECKING:
    import pandas as pd

RATES = ("alpha", "gamma", "delta")


def predicted_ratios(
    method: Mapping[str, Any], model: Mapping[str, Any], factor: np.ndarray, gradient_std: float
) -> np.ndarray | None:
    """Flip ratio (T,) of a method variant by theory; None where there is no formula.

    There is none for what is no filter of the gradient alone (Adam, clipping, layers of form 2, a threshold), for wrong
    mappings, and for sums that never forget (weight decay 0).

    Args:
        method: the variant.
        model: that of the network, for its layers and the scale of the start.
        factor: the schedule's factors, (T,).
        gradient_std: standard deviation of a weight's gradient, for a start that is remembered.
    """
    kind, decay, momentum = method["kind"], method.get("weight_decay", 0.0), method.get("momentum", 0.0)
    if model.get("scaling") == "form_2" or model.get("weight_gradient") == "clipped" or method.get("clip"):
        return None
    if kind == "mapped_filter":
        is_exact = method.get("mapping", "exact") in ("exact", "riccati", "state_space")
        return predicted_ratios(method["latent"], model, factor, gradient_std) if is_exact else None
    start = latent_variance(method, model) / gradient_std**2 if gradient_std > 0 else 0.0
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
        is_dampened = kind == "state_space_filter" or momentum  # torch dampens nothing but a momentum
        form = momentum, method.get("dampening", 0.0) if is_dampened else 0.0, method.get("nesterov", False)
        if rate:
            return theory.scheduled_sgd_flip_ratio(rate * factor, *form, start_variance=start * inertia**2)
    return None


def latent_variance(method: Mapping[str, Any], model: Mapping[str, Any]) -> float:
    """That of the initial latent weights: c²/3 of U(−c, c)."""
    scale = model.get("init_scale", 0.1 if model["kind"] == "binary_mlp" else 0.001) * method.get("init_scale", 1.0)
    return 0.0 if model.get("init", "uniform") == "zero" else scale**2 / 3


@dataclass(frozen=True)
class FlipRatioFormula:
    """The flip ratio between evaluations is that of white gradients through the same filter, up to a factor.

    Compared from epoch `from_epoch` to the last evaluation but one, as means; the effect is the geometric mean over
    runs of measured/predicted. `supported` where its 95% interval over seeds lies within [1/`factor`, `factor`] and
    that of no cell outside, `contradicted` where it lies outside, else `inconclusive`. Real gradients have a mean that
    moves, which the formula knows nothing of.

    Args:
        statement: what is stated.
        reference: where.
        methods: names of methods; patterns are allowed. Cells without a formula are left out and named in the reason.
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
        decision = _side(interval, limit)
        groups: Any = means.groupby(["dataset", "model", "method"])["log"]
        sides = {"/".join(cell): _side(student_interval(list(logs)), limit) for cell, logs in groups}
        beyond = [cell for cell, side in sides.items() if side == "contradicted"]
        if decision == "supported" and beyond:
            decision = "inconclusive"
        table = means.groupby(["dataset", "model", "method"]).agg(
            measured=("measured", "mean"), predicted=("predicted", "mean"), log=("log", "mean"), n=("seed", "nunique")
        )
        within = int((table["log"].abs() <= limit).sum())
        table["measured / predicted"] = np.exp(table.pop("log"))
        reason = f"within a factor {self.factor:g} in {within} of {len(table)} cells"
        if beyond:
            reason += f"; beyond it with their intervals: {', '.join(beyond)}"
        done = tables.runs.loc[tables.runs["status"] == "done", list(RUN)]
        recorded = self._cells(tables.curves[tables.curves["quantity"] == "flip_ratio"].merge(done, on=list(RUN)))
        if left_out := sorted(recorded - self._cells(courses)):
            reason += f"; left out, as there is no formula: {', '.join(left_out)}"
        return Verdict(
            decision,
            reason,
            math.exp(interval.mean),
            math.exp(interval.low),
            math.exp(interval.high),
            unit="measured / predicted",
            num_runs=interval.num,
            cells=[{str(k): v for k, v in row.items()} for row in table.reset_index().to_dict("records")],
            figures=_figures(tables, courses),
        )

    def _cells(self, rows: pd.DataFrame) -> set[str]:
        """dataset/model/method of the rows of the claim's methods."""
        mine = rows[rows["method"].isin(matching(list(rows["method"].unique()), self.methods))]
        return {"/".join(cell) for cell in zip(mine["dataset"], mine["model"], mine["method"], strict=True)}

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
        factor = np.repeat(table["lr_factor"].to_numpy(), steps)
        ratios = predicted_ratios(run.method_spec, run.model_spec, factor, float(table["gradient_rms"].iloc[0]))
        return None if ratios is None else np.array([p.mean() for p in np.split(ratios, np.cumsum(steps)[:-1])])


def _side(interval: Interval, limit: float) -> Decision:
    """Whether an interval lies within ±limit (`supported`), outside it, or across; without an interval: across."""
    if -limit <= interval.low and interval.high <= limit:
        return "supported"
    return "contradicted" if interval.low > limit or interval.high < -limit else "inconclusive"


def _figures(tables: Tables, courses: pd.DataFrame) -> list[Figure]:
    """A figure for each network, a panel for each method: the flip ratio of every layer, of all, and the formula."""
    import pandas as pd

    rows = tables.curves[tables.curves["quantity"] == "flip_ratio"].merge(courses[[*RUN, "epoch"]], on=[*RUN, "epoch"])
    groups = rows.groupby(["dataset", "model", "method", "index", "epoch"])["value"]
    data = groups.agg(y="mean", low="min", high="max").reset_index()
    data = data.assign(series=[f"layer {i}" if i >= 0 else "all layers" for i in data["index"]], role="measured")
    groups = courses.groupby(["dataset", "model", "method", "epoch"])["predicted"]
    predicted = groups.mean().reset_index(name="y").assign(series="all layers", low=NAN, high=NAN, role="formula")
    data = pd.concat([data, predicted], ignore_index=True)
    data = data[data["y"] > 0].rename(columns={"method": "panel", "epoch": "x"})
    caption = (
        "Flip ratio, the mean of the steps from one mark to the next: measured (dots; mean and range over seeds), and "
        "the formula for white gradients, of one variance in all layers (dotted)."
    )
    columns, label = ["panel", "series", "role", "x", "y", "low", "high"], "share of bits that flip in a step"
    networks: Any = data.groupby(["dataset", "model"])
    return [
        Figure(part[columns], "line", "epoch", label, f"{dataset} · {model}. {caption}", log_y=True)
        for (dataset, model), part in networks
    ]
