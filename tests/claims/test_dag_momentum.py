"""The checks of momentum on runs made by iterating the methods on a quadratic, whose curvature is known."""

import numpy as np
import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.claims import dag_momentum, dag_momentum_runs
from boundcheck.claims.dag_momentum import MomentumBracket, MomentumDescent, MomentumMonotone, StepPrediction
from boundcheck.claims.dag_momentum_breaks import DescentBreaks
from boundcheck.claims.dag_momentum_convergence import WeightsConverge
from boundcheck.claims.dag_momentum_plateau import StabilityPlateau
from boundcheck.claims.dag_momentum_runs import (
    GradientRate,
    HeavyBallLyapunov,
    MomentumEnvelope,
    PathSumBound,
    WeightBound,
)
from boundcheck.claims.dag_momentum_steps import momentum_steps, worst_of_stretches
from boundcheck.contracts import NAN
from boundcheck.verdicts import Tables

EIGENVALUES = np.array([4.0, 1.0, 0.2])
L = 4.0
SPECS = {
    "gd": {"kind": "gradient_descent", "lr": 0.4},
    "am": {"kind": "adaptive_momentum", "lr": 0.3, "s": 0.5},
    "am_small": {"kind": "adaptive_momentum", "lr": 0.05, "s": 0.5},
    "am_decay": {"kind": "adaptive_momentum", "lr": 0.3, "s": 0.5, "weight_decay": 0.1},
    "am_beyond": {"kind": "adaptive_momentum", "lr": 0.9, "s": 0.5},
    "hb": {"kind": "heavy_ball", "lr": 0.1, "momentum": 0.7},
    "hb_beyond": {"kind": "heavy_ball", "lr": 0.3, "momentum": 0.7},
    "polyak": {"kind": "polyak", "curvature": 4.0, "strong_convexity": 0.2},
}


def run(spec, seed, num_steps):
    """Rows (step, quantity, value) of one run on E = ½ Σ λ_i w_i² + 0.3, every curvature measured and assumed."""
    decay = spec.get("weight_decay", 0.0)
    w, delta = np.random.default_rng(seed).normal(size=3), np.zeros(3)
    lr, beta = spec.get("lr"), spec.get("momentum")
    if spec["kind"] == "polyak":
        lr, beta = 4 / (2 + np.sqrt(0.2)) ** 2, ((2 - np.sqrt(0.2)) / (2 + np.sqrt(0.2))) ** 2
    rows = []
    for step in range(num_steps):
        g = (EIGENVALUES + decay) * w
        length = np.linalg.norm(delta)
        s = spec.get("s", 0.0)
        tau = beta if beta is not None else s * lr * np.linalg.norm(g) / length if length else 0.0
        delta = -lr * g + tau * delta
        values = {
            "objective": ((EIGENVALUES + decay) * w**2).sum() / 2 + 0.3,
            "gradient_norm": np.linalg.norm(g),
            "update_norm": np.linalg.norm(delta),
            "descent_cosine": -(g @ delta) / (np.linalg.norm(g) * np.linalg.norm(delta)),
            "lr": lr,
            "sharpness": L + decay,
            "local_curvature": L + decay,
            "assumed_curvature": L + decay,
        }
        if decay:
            values["parameter_norm"] = np.linalg.norm(w)
        rows += [(step, name, float(value)) for name, value in values.items()]
        w = w + delta
    return rows


def tables_of(*methods, num_steps=60, change=None, measurements=()):
    """Tables of runs of SPECS, two seeds each; `change(step, quantity, value)` may replace a recorded value."""
    curves, runs = [], []
    for method in methods:
        for seed in (0, 1):
            runs.append(("quad", "net", method, seed, "done", "", SPECS[method], {"kind": "dag_net"}))
            for step, quantity, value in run(SPECS[method], seed, num_steps):
                kept = change(step, quantity, value) if change else value
                if kept is not None:
                    curves.append(("quad", "net", method, seed, step, float(step), quantity, -1, NAN, kept, NAN))
    cell = ["dataset", "model", "method"]
    return Tables(
        curves=pd.DataFrame(curves, columns=[*cell, *schemas.TIDY.names]),
        measurements=pd.DataFrame(list(measurements), columns=[*cell, *schemas.MEASUREMENTS.names]),
        checks=pd.DataFrame([], columns=schemas.CHECKS.names),
        runs=pd.DataFrame(runs, columns=[*cell, "seed", "status", "reason", "method_spec", "model_spec"]),
        skipped=pd.DataFrame([], columns=[*cell, "reason"]),
    )


def scaled(function, factor):
    """The function with its bound multiplied; of a pair each by its own factor."""

    def too_strong(*arguments):
        found = function(*arguments)
        return tuple(f * v for f, v in zip(factor, found, strict=True)) if isinstance(found, tuple) else factor * found

    return too_strong


STRONGER = [  # check, methods, module, theorem's function, its theorem, sense
    (MomentumDescent(), ("am", "gd"), dag_momentum, "decrease", "E_k − E_{k+1} ≥ c_S ‖g‖² (sharp)"),
    (MomentumDescent(), ("am_small",), dag_momentum, "paper_decrease", "E_k − E_{k+1} ≥ c_P ‖g‖² (paper's form)"),
    (MomentumBracket(), ("am",), dag_momentum, "cosine_bound", "cos∠(Δw, −g) ≥ √(1 − s²)"),
    (
        StepPrediction(margin=0.0),
        ("am", "hb"),
        dag_momentum,
        "predicted_decrease",
        "E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖²",
    ),
    (HeavyBallLyapunov(), ("hb",), dag_momentum_runs, "lyapunov_decrease", "V_k − V_{k+1} ≥ c_V ‖Δw‖²"),
]
STRONGER_UPPER = [
    (GradientRate(), ("am",), dag_momentum_runs, "least_gradient_bound"),
    (WeightBound(), ("am_decay",), dag_momentum_runs, "weight_bound"),
]


@pytest.mark.parametrize(
    ("check", "methods", "module", "name", "theorem"), STRONGER, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_bound_holds_and_one_that_is_too_strong_is_reported(check, methods, module, name, theorem, monkeypatch):
    found = check.rows(tables_of(*methods))
    assert found["premise_holds"][found["theorem"] == theorem].all()
    assert found["holds"][found["premise_holds"]].astype(bool).all()
    tightness = found["tightness"][found["theorem"] == theorem].min()
    assert 1 - 1e-9 <= tightness < 100
    monkeypatch.setattr(module, name, scaled(getattr(module, name), 1.1 * tightness))
    stronger = check.rows(tables_of(*methods))
    stronger = stronger[stronger["theorem"] == theorem]
    assert not stronger["holds"].astype(bool).all()


@pytest.mark.parametrize(("check", "methods", "module", "name"), STRONGER_UPPER)
def test_an_upper_bound_holds_and_one_that_is_too_strong_is_reported(check, methods, module, name, monkeypatch):
    found = check.rows(tables_of(*methods))
    assert found["premise_holds"].all()
    assert found["holds"].astype(bool).all()
    monkeypatch.setattr(module, name, scaled(getattr(module, name), 1 / (1.1 * found["tightness"].min())))
    assert not check.rows(tables_of(*methods))["holds"].astype(bool).all()


@pytest.mark.parametrize(("factors", "theorem"), [((1, 1 / 1.1), "≤ 1 + s"), ((1.1, 1), "≥ 1 − s")])
def test_the_bracket_of_the_length(factors, theorem, monkeypatch):
    found = MomentumBracket().rows(tables_of("am", "gd"))
    assert found["holds"].astype(bool).all()
    assert found["premise_holds"].all()
    gd = found[found["method"] == "gd"]
    assert gd["tightness"].to_numpy() == pytest.approx(1, abs=1e-9)
    part = found[found["theorem"].str.contains(theorem, regex=False)]
    loose = part["tightness"].min()
    factors = tuple(1.0 if f == 1 else f * loose if f > 1 else f / loose for f in factors)
    monkeypatch.setattr(dag_momentum, "update_bracket", scaled(dag_momentum.update_bracket, factors))
    stronger = MomentumBracket().rows(tables_of("am", "gd"))
    stronger = stronger[stronger["theorem"].str.contains(theorem, regex=False)]
    assert not stronger["holds"].astype(bool).all()


def test_the_envelope_is_the_sum_of_what_every_step_gives(monkeypatch):
    tables = tables_of("am", "gd")
    found = MomentumEnvelope().rows(tables)
    assert found["holds"].astype(bool).all()
    steps = momentum_steps(tables, ["adaptive_momentum"])
    one = steps[steps["seed"] == 0]
    row = found[(found["method"] == "am") & (found["seed"] == 0)].iloc[-1]
    summed = (one["gradient_norm"][one["step"] < row["step"]] ** 2).sum()
    constant = float(dag_momentum.decrease(0.3, L, 0.5))
    assert row["bound"] == pytest.approx(one["objective"].iloc[0] - constant * summed, rel=1e-12)
    decrease = dag_momentum_runs.decrease
    drop = found["bound"].max()  # the excess over 0.3 must shrink below what was measured
    monkeypatch.setattr(dag_momentum_runs, "decrease", lambda *a: 20 * drop * decrease(*a))
    assert not MomentumEnvelope().rows(tables)["holds"].astype(bool).all()


def test_a_premise_that_fails_is_reported_and_is_no_violation():
    tables = tables_of("am", "am_beyond", "hb_beyond", num_steps=20)
    for check in (MomentumDescent(), MomentumMonotone(), MomentumEnvelope(), HeavyBallLyapunov()):
        found = check.rows(tables)
        beyond = found[found["method"].isin(["am_beyond", "hb_beyond"])]
        assert not beyond["premise_holds"].any(), check
        assert beyond["holds"].isna().all()
    paper = MomentumDescent().rows(tables_of("am"))
    paper = paper[paper["theorem"].str.contains("paper")]
    assert not paper["premise_holds"].any()  # η = 0.3 is beyond 2(1 − s)/(L(1 + s)²) = 0.11


def test_a_certificate_that_was_exceeded_is_no_premise():
    def exceeded(step, quantity, value):
        return 2 * value if quantity == "local_curvature" and step == 30 else value

    for check in (MomentumDescent(), MomentumMonotone(), MomentumEnvelope(), GradientRate()):
        assert not check.rows(tables_of("am", change=exceeded))["premise_holds"].any()


def test_without_a_certificate_the_largest_measured_curvature_counts():
    def sparse(step, quantity, value):
        if quantity == "assumed_curvature" or (quantity == "local_curvature" and step % 10):
            return None
        return value

    steps = momentum_steps(tables_of("am", change=sparse), ["adaptive_momentum"])
    assert set(steps["curvature"]) == {L}
    assert steps["certified"].all()
    assert MomentumMonotone().rows(tables_of("am", change=sparse))["holds"].astype(bool).all()


def test_one_rise_is_enough():
    def raised(step, quantity, value):
        return 1.5 * value if quantity == "objective" and step == 33 else value

    found = MomentumMonotone().rows(tables_of("am", change=raised))
    bad = found[~found["holds"].astype(bool)]
    assert bad["step"].tolist() == [32, 32]
    assert not MomentumDescent().rows(tables_of("am", change=raised))["holds"].fillna(True).astype(bool).all()


def test_a_stretch_shows_its_worst_step():
    frame = pd.DataFrame({"dataset": "d", "model": "m", "method": "x", "seed": 0, "step": range(10)})
    slack = [3, 1, 2, 9, 9, 5, NAN, 4, 8, 7]
    assert worst_of_stretches(frame, slack, 2)["step"].tolist() == [1, 7]
    assert worst_of_stretches(frame, slack, 50)["step"].tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]


def test_rounding_is_that_of_the_precision():
    def rounded(step, quantity, value):
        return float(np.float32(value))

    single = tables_of("am", "gd", num_steps=120, change=rounded)
    checks = (MomentumBracket(), MomentumMonotone(), MomentumDescent(), MomentumEnvelope(), GradientRate())
    assert not all(check.rows(single)["holds"].fillna(True).astype(bool).all() for check in checks)
    single.runs["training"] = [{"precision": "float32"}] * len(single.runs)
    for check in checks:
        assert check.rows(single)["holds"].fillna(True).astype(bool).all(), check


def test_other_kinds_of_methods_have_no_rows():
    tables = tables_of("am")
    tables.runs["method_spec"] = [{"kind": "sgd", "lr": 0.1}] * 2
    for check in (
        MomentumBracket(),
        MomentumDescent(),
        MomentumMonotone(),
        StepPrediction(),
        MomentumEnvelope(),
        HeavyBallLyapunov(),
    ):
        assert len(check.rows(tables)) == 0


def test_path_sums():
    def row(quantity, value, analysis, error=NAN):
        return ("quad", "net", "am", 0, 5, 5.0, quantity, -1, NAN, value, error, analysis)

    for bound, holds in ((3.0, True), (1.9, False)):
        rows = [
            row("spectral_norm", 2.0, "spectrum", 1e-3),
            row("hessian_path_bound", bound, "path"),
            row("sublevel_hessian_bound", 2 * bound, "path"),
        ]
        found = PathSumBound().rows(tables_of("am", measurements=rows))
        assert found["holds"].tolist() == [holds, True]


def decide(claim, *methods, **more):
    return claim.decide(tables_of(*methods, **more))


def test_the_break():
    claim = DescentBreaks("s", "r", ["*_beyond"], ["am", "gd"])
    verdict = decide(claim, "am", "gd", "am_beyond", num_steps=25)
    assert verdict.decision == "supported"
    assert verdict.effect > 10
    assert len(verdict.figures) == 1
    found = {cell["method"]: cell for cell in verdict.cells}
    assert found["am"]["rises"] == 0 < found["am_beyond"]["rises"]
    same = DescentBreaks("s", "r", ["am"], ["gd"])
    assert decide(same, "am", "gd").decision == "contradicted"
    reversed_claim = DescentBreaks("s", "r", ["am"], ["am_beyond"])
    assert decide(reversed_claim, "am", "am_beyond", num_steps=25).decision == "contradicted"
    assert decide(claim, "am", "gd").decision == "not run"


def test_convergence_of_the_weights():
    claim = WeightsConverge("s", "r", ["am"])
    eigenvalue = [
        ("quad", "net", "am", seed, 300, 300.0, "smallest_eigenvalue", -1, NAN, 0.2, 1e-3, "a") for seed in (0, 1)
    ]
    verdict = decide(claim, "am", num_steps=300, measurements=eigenvalue)
    assert verdict.decision == "supported"
    assert verdict.cells[0]["KL exponent"] == pytest.approx(0.5, abs=0.01)
    assert verdict.cells[0]["points"] == "minimum"
    assert verdict.effect < 2
    early = decide(claim, "am", num_steps=12)
    assert early.decision == "inconclusive"
    assert early.cells[0]["points"] == "not measured"
    decayed = [(*row[:2], "am_decay", *row[3:9], -0.05, 1e-3, "a") for row in eigenvalue]  # λ = 0.1 on top
    found = decide(WeightsConverge("s", "r", ["am_decay"]), "am_decay", num_steps=300, measurements=decayed)
    assert found.cells[0]["points"] == "minimum"
    assert found.cells[0]["least λ_min"] == pytest.approx(0.05)
    saddle = [(*row[:9], -0.2, 1e-3, "a") for row in eigenvalue]
    assert decide(claim, "am", num_steps=300, measurements=saddle).cells[0]["points"] == "saddle"
    assert decide(claim, "gd").decision == "not run"


@pytest.mark.parametrize(("level", "decision"), [(1.0, "supported"), (1.15, "supported"), (1.5, "contradicted")])
def test_the_plateau(level, decision):
    def at_the_edge(step, quantity, value):
        return level * 2 / 0.4 if quantity == "sharpness" else value  # gradient descent: 2/η

    verdict = decide(StabilityPlateau("s", "r", ["gd"]), "gd", change=at_the_edge)
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(100 * (level - 1), abs=1e-6)
    assert set(verdict.figures[0].data["role"]) == {"measured", "bound"}


def test_the_plateau_of_adaptive_momentum_is_higher():
    verdict = decide(StabilityPlateau("s", "r", ["am_small"]), "am_small", num_steps=200)
    assert verdict.cells[0]["2(1 + β)"] == pytest.approx(2 * (1 + 0.5 / 1.5), rel=0.02)  # β → s/(1 + s)


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"stretches": 0}, "stretches"), ({"models": "dag"}, "models"), ({"methods": []}, "methods")],
)
def test_settings_without_meaning_are_rejected(settings, field):
    with pytest.raises(ValueError, match=f"^{field}: got .*; allowed: "):
        MomentumDescent(**settings)
