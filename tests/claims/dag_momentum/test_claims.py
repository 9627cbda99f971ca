"""The checks of momentum on runs made by iterating the methods on a quadratic, whose curvature is known."""

from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.claims.dag_momentum import figures
from boundcheck.claims.dag_momentum import steps as step_module
from boundcheck.claims.dag_momentum.breaks import DescentBreaks
from boundcheck.claims.dag_momentum.certified import CertifiedMode
from boundcheck.claims.dag_momentum.checks import MomentumTheorem, PathSumBound
from boundcheck.claims.dag_momentum.convergence import WeightsConverge
from boundcheck.claims.dag_momentum.figures import LyapunovDescent, StepTheorem
from boundcheck.claims.dag_momentum.kl import kl_exponent, local_kl_exponents
from boundcheck.claims.dag_momentum.plateau import StabilityPlateau
from boundcheck.claims.dag_momentum.steps import momentum_steps, worst_of_stretches
from boundcheck.contracts import NAN
from boundcheck.methods import METHODS
from boundcheck.registry import resolved
from boundcheck.report.reasons import worded
from boundcheck.theory.dag_momentum import baselines, convergence
from boundcheck.theory.dag_momentum import step as of_step
from boundcheck.verdicts import Tables, Views

EIGENVALUES = np.array([4.0, 1.0, 0.2])
L = 4.0
SETTINGS = ("dataset_spec", "model_spec", "method_spec", "training", "record", "roles")
DERIVE = step_module._derived
SPECS = {
    "gd": {"kind": "gradient_descent", "lr": 0.4},
    "am": {"kind": "adaptive_momentum", "lr": 0.3, "s": 0.5},
    "am_small": {"kind": "adaptive_momentum", "lr": 0.05, "s": 0.5},
    "am_decay": {"kind": "adaptive_momentum", "lr": 0.3, "s": 0.5, "weight_decay": 0.1},
    "am_certified": {
        "kind": "adaptive_momentum",
        "lr": 0.9 * 2 / (40 * (L + 0.1) * 1.5),
        "s": 0.5,
        "weight_decay": 0.1,
    },
    "am_beyond": {"kind": "adaptive_momentum", "lr": 0.9, "s": 0.5},
    "hb": {"kind": "heavy_ball", "lr": 0.1, "momentum": 0.7},
    "hb_beyond": {"kind": "heavy_ball", "lr": 0.3, "momentum": 0.7},
    "hb_damped": {"kind": "heavy_ball", "lr": 0.1, "momentum": 0.1},
    "hb_light": {"kind": "heavy_ball", "lr": 0.009, "momentum": 0.98},
    "nesterov": {"kind": "nesterov", "lr": 0.1, "momentum": 0.7},
    "polyak": {"kind": "polyak", "curvature": 4.0, "strong_convexity": 0.2},
}


def run(spec, seed, num_steps):
    """Rows (step, quantity, value) of one run on E = ½ Σ λ_i w_i² + 0.3, every curvature measured and assumed."""
    decay = spec.get("weight_decay", 0.0)
    w, delta = np.random.default_rng(seed).normal(size=3), np.zeros(3)
    lr, beta = spec.get("lr"), spec.get("momentum")
    if spec["kind"] == "polyak":
        lr, beta = 4 / (2 + np.sqrt(0.2)) ** 2, ((2 - np.sqrt(0.2)) / (2 + np.sqrt(0.2))) ** 2
    rows, path = [], 0.0
    for step in range(num_steps):
        g = (EIGENVALUES + decay) * w
        length = np.linalg.norm(delta)
        s = spec.get("s", 0.0)
        tau = beta if beta is not None else s * lr * np.linalg.norm(g) / length if length else 0.0
        delta = -lr * g + tau * delta
        path += np.linalg.norm(delta)
        values = {
            "objective": ((EIGENVALUES + decay) * w**2).sum() / 2 + 0.3,
            "gradient_norm": np.linalg.norm(g),
            "update_norm": np.linalg.norm(delta),
            "descent_cosine": -(g @ delta) / (np.linalg.norm(g) * np.linalg.norm(delta)),
            "lr": lr,
            "effective_momentum": tau if length else 0.0,
            "path_length": path,
            "sharpness": L + decay,
            "lowest_curvature": EIGENVALUES[-1] + decay,
            "local_curvature": L + decay,
            "assumed_curvature": L + decay,
        }
        if decay:
            values["parameter_norm"] = np.linalg.norm(w)
        rows += [(step, name, float(value)) for name, value in values.items()]
        w = w + delta
    return rows


def settings_of(method, roles):
    """The resolved settings of a cell, in the order of SETTINGS; `roles` by method."""
    spec = {"name": method, **resolved(METHODS, SPECS[method])}
    certificate = {"kind": "certificate", "rule": "inverse" if method.startswith("hb") else "sharp"}
    return {"name": "quad"}, {"name": "net"}, spec, {"precision": "float64"}, [certificate], roles.get(method, ["main"])


def tables_of(*methods, num_steps=60, change=None, measurements=(), roles=MappingProxyType({})):
    """Tables of runs of SPECS, two seeds each; `change(step, quantity, value)` may replace a recorded value."""
    curves, rows = [], []
    for method in methods:
        for seed in (0, 1):
            rows.append(("quad", "net", method, seed, "done", "", *settings_of(method, roles)))
            for step, quantity, value in run(SPECS[method], seed, num_steps):
                kept = change(step, quantity, value) if change else value
                if kept is not None:
                    curves.append(("quad", "net", method, seed, step, float(step), quantity, -1, NAN, kept, NAN))
    cell = ["dataset", "model", "method"]
    return Tables(
        curves=pd.DataFrame(curves, columns=[*cell, *schemas.TIDY.names]),
        measurements=pd.DataFrame(list(measurements), columns=[*cell, *schemas.MEASUREMENTS.names]),
        checks=pd.DataFrame([], columns=schemas.CHECKS.names),
        runs=pd.DataFrame(rows, columns=[*cell, "seed", "status", "reason", *SETTINGS]),
        skipped=pd.DataFrame([], columns=[*cell, "reason"]),
    )


def scaled(function, *factors):
    """The function with its bound multiplied; of several each by its own factor, or all by one."""

    def too_strong(*arguments):
        found = function(*arguments)
        if not isinstance(found, tuple):
            return factors[0] * found
        each = factors if len(factors) > 1 else factors * len(found)
        return tuple(factor * bound for factor, bound in zip(each, found, strict=True))

    return too_strong


def stated(theorem, **settings):
    return MomentumTheorem(theorem=theorem, **settings)


STRONGER = [  # check, methods, module, theorem's function, its theorem, sense
    (stated("descent"), ("am", "gd"), of_step, "decrease", "E_k − E_{k+1} ≥ c_S ‖g‖² (sharp)"),
    (
        stated("descent"),
        ("am_small",),
        of_step,
        "paper_decrease",
        "E_k − E_{k+1} ≥ c_P ‖g‖² (paper's form)",
    ),
    (stated("bracket"), ("am",), of_step, "cosine_bound", "cos∠(Δw, −g) ≥ √(1 − s²)"),
    (
        stated("prediction"),
        ("am", "hb"),
        of_step,
        "predicted_decrease",
        "E_k − E_{k+1} ≥ −⟨g, Δw⟩ − (L_k/2) ‖Δw‖²",
    ),
    (stated("lyapunov"), ("hb",), baselines, "lyapunov_decrease", "V_k − V_{k+1} ≥ c_V ‖Δw‖²"),
]
STRONGER_UPPER = [
    (stated("gradient_rate"), ("am",), convergence, "least_gradient_bound"),
    (stated("weight_bound"), ("am_decay",), convergence, "weight_bound"),
    (stated("speed_limit"), ("am", "gd"), convergence, "effective_step"),
    (stated("finite_length"), ("am", "gd"), convergence, "path_length_bound"),
    (stated("linear_rate"), ("am", "gd"), convergence, "linear_rate"),
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


PAIRS = [  # check, module, theorem's function, its theorem, which of its values
    (stated("summable"), convergence, "gradient_sum_bound", "Σ ‖g_k‖² ≤ (E_0 − E_K)/c_S"),
    (stated("summable"), convergence, "update_sum_bound", "Σ ‖Δw‖² ≤ (1 + s)²η² (E_0 − E_K)/c_S"),
    (
        stated("effective_momentum"),
        of_step,
        "effective_momentum_bracket",
        "β_k ‖g_{k−1}‖/‖g_k‖ ≥ s/(1 + s)",
    ),
    (
        stated("effective_momentum"),
        of_step,
        "effective_momentum_bracket",
        "β_k ‖g_{k−1}‖/‖g_k‖ ≤ s/(1 − s)",
    ),
    (stated("bracket"), of_step, "descent_slope_bound", "−⟨g, Δw⟩/(η‖g‖²) ≥ 1 − s"),
]


@pytest.mark.parametrize(("check", "module", "name", "theorem"), PAIRS)
def test_each_theorem_of_a_check_is_reported_by_itself(check, module, name, theorem, monkeypatch):
    found = check.rows(tables_of("am"))
    assert found["holds"][found["premise_holds"]].astype(bool).all()
    part = found[(found["theorem"] == theorem) & found["premise_holds"]]
    assert len(part) > 10
    factor = 1.1 * part["tightness"].min()
    factor = factor if part["sense"].iloc[0] == "lower" else 1 / factor
    monkeypatch.setattr(module, name, scaled(getattr(module, name), factor))
    stronger = check.rows(tables_of("am"))
    assert not stronger["holds"][stronger["theorem"] == theorem].fillna(True).astype(bool).all()


def test_the_effective_momentum_is_that_of_an_equal_step_size():
    def changed(step, quantity, value):
        return 2 * value if quantity == "lr" and step >= 30 else value

    found = stated("effective_momentum", stretches=60).rows(tables_of("am", change=changed))
    assert set(found.loc[~found["premise_holds"], "step"]) == {30}
    assert not len(stated("effective_momentum").rows(tables_of("gd")))


def test_the_path_ahead_is_the_one_that_is_left(monkeypatch):
    """With c = 1 and C as found the bound is 2 (1 + s) η √gap · max √gap/‖g‖, for θ = 1/2."""
    tables = tables_of("am", num_steps=40)
    found = stated("finite_length", stretches=40).rows(tables)
    steps = momentum_steps(tables, ["adaptive"])
    one = steps[steps["seed"] == 0].reset_index(drop=True)
    gap, g, d = (one[name].to_numpy() for name in ("objective", "gradient_norm", "update_norm"))
    gap = gap - gap[-1]
    theta = min(max(kl_exponent(one), 0.5), 0.95)
    c = float(of_step.decrease(0.3, L, 0.5))
    rows = found[found["seed"] == 0].set_index("step")
    for K in (0, 7, 20):
        C = max(gap[k] ** theta / g[k] for k in range(K, 39))
        assert rows.loc[K, "measured"] == pytest.approx(d[K:39].sum(), rel=1e-12)
        expected = 1.5 * 0.3 * C * gap[K] ** (1 - theta) / (1 - theta) / c
        assert rows.loc[K, "bound"] == pytest.approx(expected, rel=1e-10)
    assert not rows.index.isin([39]).any()  # at the end there is no gap


def test_the_linear_rate_is_that_of_the_pl_constant_along_the_run():
    tables = tables_of("am", num_steps=40)
    found = stated("linear_rate", stretches=40).rows(tables)
    one = momentum_steps(tables, ["adaptive"])
    one = one[one["seed"] == 0]
    gap, g = one["objective"].to_numpy() - one["objective"].to_numpy()[-1], one["gradient_norm"].to_numpy()
    mu = min(g[k] ** 2 / (2 * gap[k]) for k in range(39))
    factor = 1 - 2 * mu * float(of_step.decrease(0.3, L, 0.5))
    rows = found[found["seed"] == 0].set_index("step")
    assert 0.15 < mu < 0.5  # the least eigenvalue is 0.2
    for K in (1, 10, 30):
        assert rows.loc[K, "bound"] == pytest.approx(factor**K * gap[0], rel=1e-9)
        assert rows.loc[K, "measured"] == pytest.approx(gap[K], rel=1e-12)
    assert rows.index.min() == 1


def test_strong_convergence_wants_the_certificate():
    def exceeded(step, quantity, value):
        return 2 * value if quantity == "local_curvature" and step == 30 else value

    for check in map(stated, ("finite_length", "linear_rate", "summable")):
        assert not check.rows(tables_of("am", change=exceeded))["premise_holds"].any(), check
        assert not check.rows(tables_of("am_beyond", num_steps=20))["premise_holds"].any(), check
        assert len(check.rows(tables_of("hb"))) == 0


def test_the_kl_exponent_by_decade():
    """‖g‖ = gap^0.7 on one run: the same exponent in every decade."""
    gap = np.geomspace(1.0, 1e-7, 400)
    frame = pd.DataFrame({"objective": [*(2 + gap), 2.0], "gradient_norm": [*gap**0.7, 1e-9], "step": range(401)})
    found = local_kl_exponents(frame)
    assert [share for share, _, _ in found] == pytest.approx([10.0**-d for d in range(6)])
    assert [theta for _, _, theta in found] == pytest.approx([0.7] * 6, abs=1e-6)
    assert [step for _, step, _ in found] == sorted(step for _, step, _ in found)
    assert kl_exponent(frame) == pytest.approx(0.7, abs=1e-6)
    assert np.isnan(kl_exponent(frame.iloc[:5]))


@pytest.mark.parametrize(("factors", "theorem"), [((1, 1 / 1.1), "≤ 1 + s"), ((1.1, 1), "‖Δw‖/(η‖g‖) ≥ 1 − s")])
def test_the_bracket_of_the_length(factors, theorem, monkeypatch):
    found = stated("bracket").rows(tables_of("am", "gd"))
    assert found["holds"].astype(bool).all()
    assert found["premise_holds"].all()
    gd = found[found["method"] == "gd"]
    assert gd["tightness"].to_numpy() == pytest.approx(1, abs=1e-9)
    part = found[found["theorem"].str.contains(theorem, regex=False)]
    loose = part["tightness"].min()
    factors = tuple(1.0 if f == 1 else f * loose if f > 1 else f / loose for f in factors)
    monkeypatch.setattr(of_step, "update_bracket", scaled(of_step.update_bracket, *factors))
    stronger = stated("bracket").rows(tables_of("am", "gd"))
    stronger = stronger[stronger["theorem"].str.contains(theorem, regex=False)]
    assert not stronger["holds"].astype(bool).all()


def test_the_envelope_is_the_sum_of_what_every_step_gives(monkeypatch):
    tables = tables_of("am", "gd")
    found = stated("envelope").rows(tables)
    assert found["holds"].astype(bool).all()
    steps = momentum_steps(tables_of("am"))
    one = steps[steps["seed"] == 0]
    row = found[(found["method"] == "am") & (found["seed"] == 0)].iloc[-1]
    summed = (one["gradient_norm"][one["step"] < row["step"]] ** 2).sum()
    constant = float(of_step.decrease(0.3, L, 0.5))
    assert row["bound"] == pytest.approx(one["objective"].iloc[0] - constant * summed, rel=1e-12)
    decrease = of_step.decrease
    drop = found["bound"].max()  # the excess over 0.3 must shrink below what was measured
    monkeypatch.setattr(of_step, "decrease", lambda *a: 20 * drop * decrease(*a))
    assert not stated("envelope").rows(tables)["holds"].astype(bool).all()


def test_a_premise_that_fails_is_reported_and_is_no_violation():
    tables = tables_of("am", "am_beyond", "hb_beyond", num_steps=20)
    for check in map(stated, ("descent", "monotone", "envelope", "lyapunov")):
        found = check.rows(tables)
        beyond = found[found["method"].isin(["am_beyond", "hb_beyond"])]
        assert not beyond["premise_holds"].any(), check
        assert beyond["holds"].isna().all()
    paper = stated("descent").rows(tables_of("am"))
    paper = paper[paper["theorem"].str.contains("paper")]
    assert not paper["premise_holds"].any()  # η = 0.3 is beyond 2(1 − s)/(L(1 + s)²) = 0.11


def test_a_certificate_that_was_exceeded_is_no_premise():
    def exceeded(step, quantity, value):
        return 2 * value if quantity == "local_curvature" and step == 30 else value

    for check in map(stated, ("descent", "monotone", "envelope", "gradient_rate")):
        assert not check.rows(tables_of("am", change=exceeded))["premise_holds"].any()


def test_without_a_certificate_the_largest_measured_curvature_counts():
    def sparse(step, quantity, value):
        if quantity == "assumed_curvature" or (quantity == "local_curvature" and step % 10):
            return None
        return value

    steps = momentum_steps(tables_of("am", change=sparse), ["adaptive"])
    assert set(steps["curvature"]) == {L}
    assert steps["certified"].all()
    assert stated("monotone").rows(tables_of("am", change=sparse))["holds"].astype(bool).all()


def test_one_rise_is_enough():
    def raised(step, quantity, value):
        return 1.5 * value if quantity == "objective" and step == 33 else value

    found = stated("monotone").rows(tables_of("am", change=raised))
    bad = found[~found["holds"].astype(bool)]
    assert bad["step"].tolist() == [32, 32]
    assert not stated("descent").rows(tables_of("am", change=raised))["holds"].fillna(True).astype(bool).all()


def test_the_laws_of_methods_decide_what_they_are_held_to():
    """Polyak's method is heavy ball with numbers of its own; Nesterov's has a law that no bound here is about."""
    laws = {"am": "adaptive", "gd": "adaptive", "hb": "heavy_ball", "nesterov": "nesterov", "polyak": "heavy_ball"}
    steps = momentum_steps(tables_of(*laws, num_steps=2)).drop_duplicates("method")
    found = steps.set_index("method")[["rule", "s", "momentum"]]
    assert found["rule"].to_dict() == laws
    assert (found.loc["am", "s"], found.loc["gd", "s"], found.loc["hb", "momentum"]) == (0.5, 0.0, 0.7)
    root = 0.2**0.5
    assert found.loc["polyak", "momentum"] == pytest.approx(((2 - root) / (2 + root)) ** 2, rel=1e-12)
    assert found["s"].isna().tolist() == [False, False, True, True, True]


def test_the_steps_of_a_table_are_derived_once(monkeypatch):
    tables, derived = tables_of("am")._replace(views=Views()), []
    monkeypatch.setattr(step_module, "_derived", lambda table: derived.append(1) or DERIVE(table))
    same = [check.rows(tables._replace(checks=tables.checks)) for check in (stated("descent"), stated("descent"))]
    assert derived == [1]
    assert same[0].equals(same[1])
    assert len(momentum_steps(tables._replace(curves=tables.curves[tables.curves["seed"] == 0]))) == 60
    assert derived == [1, 1]


def test_a_stretch_shows_its_worst_step():
    frame = pd.DataFrame({"dataset": "d", "model": "m", "method": "x", "seed": 0, "step": range(10)})
    slack = [3, 1, 2, 9, 9, 5, NAN, 4, 8, 7]
    assert worst_of_stretches(frame, slack, 2)["step"].tolist() == [1, 7]
    assert worst_of_stretches(frame, slack, 50)["step"].tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]


def test_a_change_below_rounding_predicts_nothing():
    def standing(step, quantity, value):
        return 0.3 if quantity == "objective" and step >= 30 else 1e-20 if quantity == "update_norm" else value

    found = stated("prediction", stretches=60).rows(tables_of("am", change=standing))
    assert set(found.loc[~found["premise_holds"], "step"]) == set(range(30, 59))


def test_rounding_is_that_of_the_precision():
    def rounded(step, quantity, value):
        return float(np.float32(value))

    single = tables_of("am", "gd", num_steps=120, change=rounded)
    checks = (
        *(
            stated("bracket"),
            stated("monotone"),
            stated("descent"),
            stated("envelope"),
            stated("gradient_rate"),
        ),
        *(
            stated("effective_momentum"),
            stated("summable"),
            stated("speed_limit"),
            stated("finite_length"),
            stated("linear_rate"),
        ),
    )
    assert not all(check.rows(single)["holds"].fillna(True).astype(bool).all() for check in checks)
    single.runs["training"] = [{"precision": "float32"}] * len(single.runs)
    for check in checks:
        assert check.rows(single)["holds"].fillna(True).astype(bool).all(), check


def test_other_kinds_of_methods_have_no_rows():
    tables = tables_of("am")
    tables.runs["method_spec"] = [resolved(METHODS, {"kind": "sgd", "lr": 0.1})] * 2
    for check in map(
        stated,
        (
            "bracket",
            "descent",
            "monotone",
            "prediction",
            "envelope",
            "lyapunov",
            "effective_momentum",
            "summable",
            "speed_limit",
            "finite_length",
            "linear_rate",
            "a_priori_curvature",
        ),
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


def certified(factor, quantity="assumed_curvature", at=None):
    """L(R) = 164, 40 times the curvature, and one recorded quantity times a factor."""

    def change(step, name, value):
        value = 164.0 if name == "assumed_curvature" else value
        return factor * value if name == quantity and at in (None, step) else value

    return change


def test_the_a_priori_curvature():
    kept = stated("a_priori_curvature").rows(tables_of("am_certified", change=certified(1.0)))
    assert kept["premise_holds"].all()
    assert kept["holds"].astype(bool).all()
    assert kept["tightness"].to_numpy() == pytest.approx(40)
    # L(R) smaller by 1.1 times how loose it is: below what was measured
    weak = certified(1 / 44)
    too_small = stated("a_priori_curvature").rows(tables_of("am_certified", change=weak))
    assert not too_small["holds"].astype(bool).any()
    plain = stated("a_priori_curvature").rows(tables_of("am", change=certified(1.0)))
    assert not plain["premise_holds"].any()  # without weight decay there is no ball


def test_the_certified_mode():
    claim = CertifiedMode(methods="am_certified")
    verdict = decide(claim, "am_certified", change=certified(1.0))
    assert verdict.decision == "supported"
    assert verdict.tightness == pytest.approx(40)
    (cell,) = verdict.cells
    assert cell["rises"] == 0
    assert cell["η"] == pytest.approx(SPECS["am_certified"]["lr"])
    assert "40 times the largest measured curvature" in worded(verdict.reason)
    assert 5 < verdict.effect < 100
    idle = decide(CertifiedMode(methods="am_certified", least_progress=0.99), "am_certified", change=certified(1.0))
    assert idle.decision == "vacuous"
    steps = idle.cells[0]["steps for the least progress"]
    assert steps == pytest.approx(59 * 99 / idle.effect, rel=1e-9)
    for broken in (
        certified(1.5, "objective", at=33),
        certified(100.0, "local_curvature", at=10),
        certified(100.0, "parameter_norm", at=10),
    ):
        assert decide(claim, "am_certified", change=broken).decision == "contradicted"
    assert decide(claim, "am").decision == "not run"
    with pytest.raises(ValueError, match=r"least_progress: got 1\.0; allowed: "):
        CertifiedMode(least_progress=1.0)


def checked(name, check, tables):
    return tables._replace(checks=check.rows(tables).assign(check=name))


def test_the_envelope_is_shown_with_the_gradient_and_called_sampled():
    def sparse(step, quantity, value):
        return None if quantity == "local_curvature" and step % 10 else value

    tables = checked("envelope", stated("envelope"), tables_of("am", "gd", change=sparse))
    verdict = StepTheorem(sampled=True, drawn="gradients", check="envelope").decide(tables)
    assert verdict.decision == "supported"
    assert worded(verdict.reason).endswith("a sampled certificate: curvature measured on 24 of 240 steps")
    envelope, gradient = verdict.figures
    assert set(envelope.data["role"]) == {"measured", "bound"}
    assert gradient.y_label == "‖g‖"
    assert set(gradient.data["series"]) == {"am", "gd"}
    plain = StepTheorem(sampled=True, check="envelope").decide(tables)
    assert (plain.reason, len(plain.figures)) == (verdict.reason, 1)
    nothing = checked("envelope", stated("envelope"), tables_of("am_beyond", num_steps=20))
    assert StepTheorem(sampled=True, drawn="gradients", check="envelope").decide(nothing).decision == "vacuous"


def test_the_predicted_decrease_is_drawn_against_the_actual_one():
    tables = checked("prediction", stated("prediction"), tables_of("am", "hb"))
    verdict = StepTheorem(drawn="prediction", check="prediction").decide(tables)
    figure = verdict.figures[0]
    assert (figure.mark, figure.x_label, figure.y_label) == (
        "points",
        "predicted decrease of E",
        "actual decrease of E",
    )
    num = int((tables.checks[["bound", "measured"]] > 0).all(axis=1).sum())
    assert f"none of {num} lie below the line of equals" in figure.caption
    assert f"; {len(tables.checks) - num} that are not positive have no place on these axes" in figure.caption
    raised = tables._replace(checks=tables.checks.assign(holds=[False, *tables.checks["holds"][1:]]))
    assert (
        f"; 1 of {num} lie below"
        in StepTheorem(drawn="prediction", check="prediction").decide(raised).figures[0].caption
    )
    dots, line = (figure.data[figure.data["role"] == role] for role in ("measured", "lower bound"))
    assert (line["y"] == line["x"]).all()
    assert sorted(line["x"]) == [dots["x"].min(), dots["x"].max()]
    assert (dots["y"].to_numpy() >= dots["x"].to_numpy() * (1 - 1e-9)).all()
    assert set(dots["series"]) == {"am", "hb"}
    one = StepTheorem(drawn="prediction", check="prediction", shown={"record": {"rule": "inverse"}}).decide(tables)
    assert set(one.figures[0].data["series"]) == {"hb"}
    assert one.reason == verdict.reason  # all of them decide
    none = tables._replace(checks=tables.checks.iloc[:0])
    assert StepTheorem(drawn="prediction", check="prediction").decide(none).decision == "not run"


def test_the_left_side_of_a_theorem_labels_its_figure():
    tables = checked("bracket", stated("bracket"), tables_of("am"))
    drawn = StepTheorem(check="bracket").decide(tables).figures
    assert {figure.y_label for figure in drawn} == {"‖Δw‖/(η‖g‖)", "−⟨g, Δw⟩/(η‖g‖²)", "cos∠(Δw, −g)"}
    assert all(figure.caption.startswith(figure.y_label) for figure in drawn)


def test_heavy_ball_falls_in_v_where_e_rises(monkeypatch):
    tables = checked("lyapunov", stated("lyapunov"), tables_of("hb_light", "hb_beyond", num_steps=200))
    verdict = LyapunovDescent(sampled=True, check="lyapunov").decide(tables)
    assert verdict.decision == "supported"
    steps = momentum_steps(tables_of("hb_light", num_steps=200))
    num = int((steps["decrease"] < -1e-13).sum())
    assert num > 20
    assert worded(verdict.reason).endswith(f"E itself rises at {num} of 398 steps, and V falls at {num} of these")
    assert "curvature measured on 400 of 400 steps" in worded(verdict.reason)
    excess = verdict.figures[-1].data.groupby("series")["y"].max()
    assert excess["E"] > 1e-3
    assert excess["V"] == pytest.approx(0, abs=1e-12)
    monkeypatch.setattr(figures, "NUM_DRAWN", 10)
    thinned = LyapunovDescent(sampled=True, check="lyapunov").decide(tables).figures[-1]
    assert thinned.data.groupby("series").size().eq(11).all()  # of 19 steps each, the last of 9
    assert thinned.data.groupby("series")["y"].max().equals(excess)
    assert thinned.caption.endswith("of every 19 steps the highest.")
    assert (thinned.data.groupby("series")["x"].diff().dropna() > 0).all()
    damped = checked("lyapunov", stated("lyapunov"), tables_of("hb_damped"))
    assert LyapunovDescent(sampled=True, check="lyapunov").decide(damped).decision == "inconclusive"
    monkeypatch.setattr(baselines, "lyapunov_decrease", lambda *_: 1e6)
    broken = checked("lyapunov", stated("lyapunov"), tables_of("hb_light"))
    assert LyapunovDescent(sampled=True, check="lyapunov").decide(broken).decision == "contradicted"


def broken(*methods, beyond=("am_beyond", "hb_beyond"), change=None, **settings):
    """The verdict on runs of 25 steps, of which those of the methods `beyond` are beyond the limit."""
    tables = tables_of(*methods, num_steps=25, change=change, roles={method: ["beyond"] for method in beyond})
    return DescentBreaks(roles=["beyond"], certified={"kind": "certificate"}, **settings).decide(tables)


def test_the_break():
    verdict = broken("am", "gd", "am_beyond", "hb_beyond")
    assert verdict.decision == "supported"
    assert verdict.effect > 10
    assert [figure.y_label for figure in verdict.figures] == ["objective", "gradient norm"]
    assert set(verdict.figures[0].data["panel"]) == {"quad · net: within", "quad · net: beyond"}
    found = {cell["method"]: cell for cell in verdict.cells}
    assert found["am"]["rises"] == 0 < found["am_beyond"]["rises"]
    assert found["am_beyond"]["least η/limit"] == pytest.approx(0.9 * 1.5 * L / 2)
    assert found["hb_beyond"]["largest η/limit"] == pytest.approx(0.3 * L / (2 * 0.3))
    assert found["gd"]["least η/limit"] == pytest.approx(0.4 * L / 2)
    assert worded(verdict.reason).endswith("a sampled certificate: curvature measured on 100 of 100 steps")
    assert broken("am", "am_beyond", beyond=["am"]).decision == "contradicted"
    assert broken("am", "gd").decision == "not run"


def test_the_limit_is_that_of_the_least_curvature_certified():
    """Of the certified runs one has curvature 4, the other 4.1; the runs beyond have no certificate of their own."""
    tables = tables_of("am", "am_decay", "am_beyond", num_steps=25, roles={"am_beyond": ["beyond"]})
    curves = tables.curves
    own = (curves["method"] == "am_beyond") & (curves["quantity"] == "assumed_curvature")
    claim = DescentBreaks(roles=["beyond"], certified={"kind": "certificate"})
    verdict = claim.decide(tables._replace(curves=curves[~own]))
    (beyond,) = (cell for cell in verdict.cells if cell["side"] == "beyond")
    assert beyond["least η/limit"] == beyond["largest η/limit"] == pytest.approx(0.9 * 1.5 * L / 2)
    within = {cell["method"]: cell["least η/limit"] for cell in verdict.cells if cell["side"] == "within"}
    assert within["am_decay"] == pytest.approx(0.3 * 1.5 * (L + 0.1) / 2)


def test_a_break_short_of_the_stated_times_decides_nothing():
    """`am_beyond` is at 2.7 times its limit, `hb_beyond` at 2."""

    def at(times, *methods, certified="am"):
        return broken(*methods, certified, beyond=methods, times=times)

    assert at(2.6, "am_beyond").decision == at(1.9, "am_beyond", "hb_beyond").decision == "supported"
    for short, nearest in (
        (at(8, "am_beyond"), "2.7, below 8"),
        (at(2.5, "am_beyond", "hb_beyond"), "2, below 2.5"),
        (at(1, "am", certified="gd"), "0.9, below 1"),  # nothing rises, but nothing is beyond the limit either
    ):
        assert short.decision == "inconclusive"
        assert f"; the least known η/limit of those beyond is {nearest}; a sampled" in worded(short.reason)
    assert at(8, "am_beyond", certified="hb_beyond").decision == "contradicted"  # a certified run rises
    flat = broken("am_beyond", "gd", change=falling)
    assert flat.decision == "contradicted"  # beyond its limit, and nothing rises
    with pytest.raises(ValueError, match=r"times: got 0\.5; allowed: "):
        DescentBreaks(certified={}, times=0.5)


def falling(step, quantity, value):
    return 1 / (1 + step) if quantity == "objective" else value


def test_convergence_of_the_weights():
    claim = WeightsConverge(methods="am")
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
    assert early.cells[0]["points"] == "not stationary"
    assert decide(claim, "am", num_steps=300).cells[0]["points"] == "not measured"
    decayed = [(*row[:2], "am_decay", *row[3:9], -0.05, 1e-3, "a") for row in eigenvalue]  # λ = 0.1 on top
    found = decide(WeightsConverge(methods="am_decay"), "am_decay", num_steps=300, measurements=decayed)
    assert found.cells[0]["points"] == "minimum"
    assert found.cells[0]["least λ_min"] == pytest.approx(0.05)
    saddle = [(*row[:9], -0.2, 1e-3, "a") for row in eigenvalue]
    at_saddle = decide(claim, "am", num_steps=300, measurements=saddle)
    assert at_saddle.cells[0]["points"] == "saddle"
    assert at_saddle.decision == "inconclusive"  # it may yet leave
    undecided = [(*row[:9], 5e-4, 1e-3, "a") for row in eigenvalue]
    assert decide(claim, "am", num_steps=300, measurements=undecided).cells[0]["points"] == "undecided"
    strict = WeightsConverge(methods="am", stationary=1e-300)
    assert decide(strict, "am", num_steps=300, measurements=saddle).cells[0]["points"] == "not stationary"
    labels = ["length of the path", "E", "‖g‖", "lowest Ritz value ≥ λ_min", "θ"]
    assert [figure.y_label for figure in verdict.figures] == labels
    assert decide(claim, "gd").decision == "not run"


@pytest.mark.parametrize(("level", "decision"), [(1.0, "supported"), (1.15, "supported"), (1.5, "contradicted")])
def test_the_plateau(level, decision):
    def at_the_edge(step, quantity, value):
        return level * 2 / 0.4 if quantity == "sharpness" else value  # gradient descent: 2/η

    verdict = decide(StabilityPlateau(methods="gd"), "gd", change=at_the_edge)
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(100 * (level - 1), abs=1e-6)
    assert set(verdict.figures[0].data["role"]) == {"measured", "bound"}


def test_the_plateau_of_adaptive_momentum_is_higher():
    verdict = decide(StabilityPlateau(methods="am_small"), "am_small", num_steps=200)
    assert verdict.cells[0]["2(1 + β)"] == pytest.approx(2 * (1 + 0.5 / 1.5), rel=0.02)  # β → s/(1 + s)


def test_a_check_looks_at_the_cells_that_it_selects():
    tables = tables_of("am", "gd", roles={"gd": ["sweep"]})
    assert set(stated("descent").rows(tables)["method"]) == {"am"}
    assert set(stated("descent", roles=["main", "sweep"]).rows(tables)["method"]) == {"am", "gd"}
    assert set(stated("descent", methods={"s": 0.5}).rows(tables)["method"]) == {"am"}
    assert not len(stated("descent", record={"rule": "paper"}).rows(tables))


def test_settings_without_meaning_are_rejected():
    with pytest.raises(ValueError, match=r"^stretches: got 0; allowed: "):
        stated("descent", stretches=0)
