"""Checks of weight normalisation: which rows they make, when their premise holds, and that a stronger bound fails."""

from __future__ import annotations

import pytest

from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.claims.weight_norm.bounds import NestedBounds, PredictorBounds
from boundcheck.claims.weight_norm.convexity import ConvexityReached, RestrictedConvexityHolds
from boundcheck.claims.weight_norm.gap import GapBound, GapBoundSays
from boundcheck.claims.weight_norm.rate import LinearRate, RateBoundSays
from boundcheck.claims.weight_norm.rows import OrthogonalRows, RowNormCourse, RowNormsGrow, RowScalingLaw
from boundcheck.claims.weight_norm.training import Descent, DescentSays, Sharpness
from boundcheck.contracts import NAN
from boundcheck.models.weight_normed import NOT_APPLICABLE
from boundcheck.report.reasons import worded
from boundcheck.tables import MEASUREMENTS
from boundcheck.theory.weight_norm.training import descent_bound

CELL = ("mnist", "wn", "gd")
WN = {"kind": "weight_norm_mlp", "depth": 2, "width": 4}
TWIN = WN | {"normalised": False}
RESNET = {"kind": "weight_normed", "base": {"kind": "resnet", "depth": 8, "width": 4}}
GD = {"kind": "sgd", "lr": 1.0}
FULL = {"batch_size": "full", "loss": "square"}
SPHERE = {"kind": "mnist5k", "normalise": "sphere"}
SEEDS = (0, 1)
PLACE = {name: i + 3 for i, name in enumerate(MEASUREMENTS.names)}


def row(quantity, value, index=-1, coordinate=NAN, epoch=0, seed=0, cell=CELL, error=NAN):
    return (*cell, seed, epoch, float(epoch), quantity, index, coordinate, value, error)


def measured(quantity, value, *, analysis="a", **where):
    return (*row(quantity, value, **where), analysis)


@pytest.fixture
def tables_of(make_tables):
    def tables_of(measurements=(), curves=(), spec=WN, method=GD, training=FULL, cell=CELL, dataset=SPHERE):
        tables = make_tables({cell: dict.fromkeys(SEEDS, 1.0)}, measurements=measurements, specs={cell[1]: spec})
        runs = tables.runs.assign(method_spec=[method] * 2, training=[training] * 2, dataset_spec=[dataset] * 2)
        frame = tables.curves.iloc[:0]
        for values in curves:
            frame.loc[len(frame)] = values
        return tables._replace(runs=runs, curves=frame)

    return tables_of


def decided(check, tables):
    return TheoremHolds(check="c").decide(tables._replace(checks=check.rows(tables).assign(check="c"))).decision


def hessian_rows(bound):
    names = ("blocks", "layers", "parameters", "a_priori", "a_priori_global")
    rows = []
    for seed in SEEDS:
        for index, norm in enumerate((1.0, 0.3)):
            rows.append(measured("predictor_hessian_norm", norm, index=index, seed=seed))
            for place, name in enumerate(names):
                rows.append(measured(f"hessian_bound_{name}", bound * norm * 2**place, index=index, seed=seed))
    return rows


TIGHTNESS = 1.7


@pytest.mark.parametrize(("factor", "decision"), [(1.0, "supported"), (1 / (1.1 * TIGHTNESS), "contradicted")])
def test_predictor_bounds(tables_of, factor, decision):
    tables = tables_of(hessian_rows(TIGHTNESS * factor))
    found = PredictorBounds().rows(tables)
    assert len(found) == 2 * 2 * 5
    assert decided(PredictorBounds(), tables) == decision
    tight = found[found["theorem"] == "‖∇²f‖ ≤ B2"]
    assert tight["tightness"].tolist() == pytest.approx([TIGHTNESS * factor] * 4)
    assert set(tight["holds"]) == {decision == "supported"}


@pytest.mark.parametrize(("excess", "decision"), [(0.99, "supported"), (1.01, "contradicted")])
@pytest.mark.parametrize("error", [1e-12, 3e-161, 0.0])
def test_the_tolerance_is_what_rounding_may_add(tables_of, error, excess, decision):
    bound = 1e-160 if error == 3e-161 else 2.0
    norm = bound + (excess * error if error else (excess - 1) * bound)
    rows = [
        measured("predictor_hessian_norm", norm, index=0),
        measured("hessian_bound_layers", bound, index=0, error=error),
    ]
    assert decided(PredictorBounds(), tables_of(rows)) == decision
    rows = [
        measured("hessian_bound_blocks", norm, index=0),
        measured("hessian_bound_layers", bound, index=0, error=error),
    ]
    assert decided(NestedBounds(), tables_of(rows)) == decision


def test_without_a_bound_the_premise_fails(tables_of):
    rows = [measured("predictor_hessian_norm", 1.0, index=0, seed=seed) for seed in SEEDS]
    tables = tables_of(rows, spec=RESNET)
    found = PredictorBounds().rows(tables)
    assert len(found) == 2 * 7
    assert not found["premise_holds"].any()
    assert found["holds"].isna().all()
    verdict = BoundSweep(check="c").decide(tables._replace(checks=found.assign(check="c")))
    assert verdict.decision == "vacuous"
    assert f"not applicable to wn: {NOT_APPLICABLE}" in worded(verdict.reason)
    (cell,) = verdict.cells
    assert (cell["model"], cell["decision"], cell["not applicable"]) == ("wn", "not run", NOT_APPLICABLE)
    assert len(PredictorBounds("gradient").rows(tables_of(rows))) == 0


@pytest.mark.parametrize(("factor", "decision"), [(1.0, "supported"), (1 / 2.2, "contradicted")])
def test_nested_bounds(tables_of, factor, decision):
    value = PLACE["value"]
    rows = [
        (*r[:value], r[value] * factor, *r[value + 1 :]) if "hessian_bound_layers" in r else r
        for r in hessian_rows(1.5)
    ]
    assert decided(NestedBounds(), tables_of(rows)) == decision


@pytest.mark.parametrize(("cosine", "decision"), [(1e-9, "supported"), (1.1e-6, "contradicted")])
def test_orthogonal_rows(tables_of, cosine, decision):
    rows = [measured("row_gradient_cosine", cosine, seed=seed) for seed in SEEDS]
    assert decided(OrthogonalRows(), tables_of(rows)) == decision
    assert decided(OrthogonalRows(), tables_of(rows, spec=TWIN)) == "vacuous"


@pytest.mark.parametrize(("power", "decision"), [(2, "supported"), (1.999, "contradicted")])
def test_row_scaling(tables_of, power, decision):
    rows = [measured("hidden_hessian_norm", 3 / c**power, coordinate=c) for c in (0.5, 1.0, 2.0)]
    found = RowScalingLaw().rows(tables_of(rows))
    assert found["coordinate"].tolist() == [0.5, 2.0]
    assert decided(RowScalingLaw(), tables_of(rows)) == decision
    assert decided(RowScalingLaw(), tables_of(rows, spec=TWIN)) == "vacuous"


@pytest.mark.parametrize(("factor", "decision"), [(1.0, "supported"), (1 / (1.1 * TIGHTNESS), "contradicted")])
def test_sharpness(tables_of, factor, decision):
    rows = [measured("sharpness", 2.0, analysis="s"), measured("loss_smoothness", 2 * TIGHTNESS * factor)]
    assert decided(Sharpness(), tables_of(rows)) == decision


@pytest.mark.parametrize(("factor", "decision"), [(1.0, "supported"), (1 / (1.1 * TIGHTNESS), "contradicted")])
def test_gap(tables_of, factor, decision):
    rows = [measured("gap", 0.2), measured("gap_bound", 0.2 * TIGHTNESS * factor), measured("num_samples", 50)]
    assert decided(GapBound(), tables_of(rows)) == decision
    assert GapBound().rows(tables_of(rows))["coordinate"].tolist() == [50]


@pytest.mark.parametrize(("zero_loss", "decision"), [(30.0, "supported"), (10.0, "vacuous")])
def test_a_gap_bound_above_the_loss_of_predicting_0_says_nothing(tables_of, zero_loss, decision):
    numbers = {"gap": 0.2, "gap_bound": 20.0, "num_samples": 50, "zero_loss": zero_loss, "num_samples_needed": 200}
    tables = tables_of([measured(name, value) for name, value in numbers.items()])
    tables = tables._replace(checks=GapBound().rows(tables).assign(check="c"))
    verdict = GapBoundSays(check="c").decide(tables)
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(20 / zero_loss)
    assert "from n = 200 to 200" in worded(verdict.reason)


def test_a_gap_without_a_bound_says_why(tables_of):
    rows = [measured("gap", 0.2), measured("num_samples", 50)]
    for spec, why in ((RESNET, NOT_APPLICABLE), (TWIN, "its rows are not normalised")):
        tables = tables_of(rows, spec=spec)
        found = GapBound().rows(tables)
        assert (found["premise_holds"].tolist(), found["holds"].isna().tolist()) == ([False], [True])
        verdict = GapBoundSays(check="c").decide(tables._replace(checks=found.assign(check="c")))
        assert worded(verdict.reason).endswith(f"not applicable to wn: {why}")


def norms(values, layer=1):
    return [row("row_norm_min", value, index=layer, epoch=10 * i, seed=0) for i, value in enumerate(values)]


@pytest.mark.parametrize(("last", "decision"), [(2.0, "supported"), (1.999, "supported"), (1.8, "contradicted")])
def test_row_norms_grow(tables_of, last, decision):
    check = RowNormsGrow(tolerance=1e-3)
    tables = tables_of(curves=[*norms([1.0, 2.0, last]), *norms([5.0, 5.0], layer=2)])
    found = check.rows(tables)
    assert sorted(zip(found["coordinate"], found["step"], strict=True)) == [(1, 10), (1, 20), (2, 10)]
    assert decided(check, tables) == decision


def test_row_norms_are_drawn_layer_by_layer(tables_of):
    curves = [row(name, i + layer + seed, index=layer, epoch=e, seed=seed)
              for i, name in enumerate(("row_norm_min", "row_norm_low", "row_norm_mean", "row_norm_high"))
              for layer in (1, 2) for seed in SEEDS for e in (0, 10)]  # fmt: skip
    tables = tables_of(curves=curves)
    tables = tables._replace(checks=RowNormsGrow().rows(tables).assign(check="c"))
    verdict = RowNormCourse(check="c").decide(tables)
    assert (verdict.decision, len(verdict.figures)) == ("supported", 2)
    data = verdict.figures[-1].data.set_index(["panel", "series", "x"])
    assert set(data.index.get_level_values("series")) == {"least", "10 %", "mean", "90 %"}
    assert tuple(data.loc[("wn, l = 2", "90 %", 10.0), ["y", "low", "high"]]) == (5.5, 5.0, 6.0)
    assert len(RowNormCourse(check="c", shown={"models": "other"}).decide(tables).figures) == 0


BREAKS_THE_PREMISE = [
    {"method": GD | {"momentum": 0.9, "nesterov": True}},
    {"method": GD | {"weight_decay": 0.1}},
    {"method": {"kind": "adamw", "lr": 0.1}},
    {"spec": TWIN},
]


def test_heavy_ball_momentum_keeps_row_norms(tables_of):
    found = RowNormsGrow().rows(tables_of(curves=norms([2.0, 1.0]), method=GD | {"momentum": 0.9}))
    assert found["holds"].tolist() == [False]


@pytest.mark.parametrize("change", BREAKS_THE_PREMISE, ids=str)
def test_row_norms_may_fall_otherwise(tables_of, change):
    found = RowNormsGrow().rows(tables_of(curves=norms([2.0, 1.0]), **change))
    assert not found["premise_holds"].any()
    assert found["holds"].isna().all()


def steps(factor, lr=0.1, beta=4.0, gradient=2.0):
    """Two steps; the second loss is the descent bound plus a share of the decrease that it promises."""
    loss = 3.0
    decrease = loss - float(descent_bound(loss, gradient, lr, beta))
    after = loss - factor * decrease
    rows = [row("train_loss", loss, epoch=10), row("train_loss", after, epoch=11), row("train_loss", 0.0, epoch=21)]
    numbers = {"smoothness": beta, "step_size": lr, "gradient_norm_total": gradient}
    return rows + [row(name, value, epoch=10) for name, value in numbers.items()]


@pytest.mark.parametrize(("factor", "decision"), [(1.7, "supported"), (1.0, "supported"), (1 / 1.1, "contradicted")])
def test_descent(tables_of, factor, decision):
    tables = tables_of(curves=steps(factor))
    rows = Descent().rows(tables)
    assert (rows["step"].tolist(), set(rows["theorem"])) == ([10], {"L(θ) − L(θ⁺) ≥ η(1 − ηβ/2)‖∇L‖²"})
    assert decided(Descent(), tables) == decision


@pytest.mark.parametrize(
    "change",
    [
        {"training": FULL | {"batch_size": 64}},
        {"training": FULL | {"loss": "cross_entropy"}},
        {"dataset": SPHERE | {"normalise": "standard"}},
        {"method": GD | {"momentum": 0.5}},
    ],
    ids=str,
)
def test_no_descent_is_promised_otherwise(tables_of, change):
    assert decided(Descent(), tables_of(curves=steps(1.0), **change)) == "vacuous"


@pytest.mark.parametrize(("rise", "decision"), [(1.0, "supported"), (1.1, "contradicted")])
def test_of_a_step_that_is_too_long_only_the_rise_is_bounded(tables_of, rise, decision):
    tables = tables_of(curves=steps(rise, lr=1.0, beta=4.0, gradient=2.0))  # η(1 − ηβ/2)‖∇L‖² = −4
    rows = Descent().rows(tables)
    assert rows["theorem"].tolist() == ["L(θ) − L(θ⁺) ≥ η(1 − ηβ/2)‖∇L‖², which promises none"]
    assert rows["bound"].tolist() == [-4]
    assert rows["tightness"].isna().all()
    assert decided(Descent(), tables) == decision


def test_a_descent_says_how_often_it_promises_a_decrease_and_draws_that(tables_of):
    long = [(*values[:4], values[4] + 40, values[5] + 40, *values[6:]) for values in steps(0.5, lr=1.0)]
    tables = tables_of(curves=[*steps(1.7), *long])
    tables = tables._replace(checks=Descent().rows(tables).assign(check="c"))
    verdict = DescentSays(check="c").decide(tables)
    assert verdict.decision == "supported"
    assert "1 of 2 rows promise a decrease (ηβ < 2), the others bound the rise" in worded(verdict.reason)
    assert verdict.tightness == pytest.approx(1.7)
    assert "∞" not in worded(verdict.reason)
    (figure,) = verdict.figures
    assert set(figure.data["x"]) == {10}
    assert DescentSays(check="other").decide(tables).decision == "not run"


@pytest.mark.parametrize(("factor", "decision"), [(1.0, "supported"), (1.1 * TIGHTNESS, "contradicted")])
def test_restricted_convexity(tables_of, factor, decision):
    rows = [measured("convexity", 0.5 * factor, coordinate=c) for c in (0.1, 0.2)]
    rows += [measured("sampled_curvature", 0.5 * TIGHTNESS, index=i, coordinate=c) for i in (0, 1) for c in (0.1, 0.2)]
    assert len(RestrictedConvexityHolds().rows(tables_of(rows))) == 4
    assert decided(RestrictedConvexityHolds(), tables_of(rows)) == decision


def test_restricted_convexity_needs_a_positive_constant(tables_of):
    rows = [measured("convexity", -0.5, coordinate=0.1), measured("sampled_curvature", -9.0, index=0, coordinate=0.1)]
    assert decided(RestrictedConvexityHolds(), tables_of(rows)) == "vacuous"


def rate_rows(after, alpha=0.3, least=0.5):
    """L(θ) = 1 and a certified rate of 0.2."""
    rate = 0.2 if alpha > 0 else NAN
    numbers = {"convexity": alpha, "loss_after_step": after, "least_loss": least, "certified_rate": rate}
    numbers["rate_bound"] = 1 - rate * (1 - least)
    return [*(measured(n, v, coordinate=0.1) for n, v in numbers.items()), measured("loss", 1.0)]


def says(tables):
    return RateBoundSays(check="c").decide(tables._replace(checks=LinearRate().rows(tables).assign(check="c")))


@pytest.mark.parametrize(("after", "decision"), [(0.8, "supported"), (0.9, "supported"), (0.91, "contradicted")])
def test_rate(tables_of, after, decision):
    tables = tables_of(rate_rows(after=after))
    assert decided(LinearRate(), tables) == decision
    verdict = says(tables)
    assert (verdict.decision, verdict.effect) == (decision, pytest.approx(20))
    assert "αω(2−ω)/β is 0.2 to 0.2 of L − L′ per step; L′ lies 50 to 50 % of L below L" in worded(verdict.reason)
    assert [cell["not certified"] for cell in verdict.cells] == ["–"]


@pytest.mark.parametrize(
    ("alpha", "least", "why"),
    [
        (0.3, 1 - 4e-12, "no noticeably lower loss found"),
        (0.3, 1.0, "no noticeably lower loss found"),
        (-0.3, NAN, "α ≤ 0"),
    ],
)
def test_without_a_lower_loss_no_rate_is_certified(tables_of, alpha, least, why):
    rows = rate_rows(after=1.0, alpha=alpha, least=least)
    tables = tables_of([r for r in rows if r[PLACE["value"]] == r[PLACE["value"]]])
    assert decided(LinearRate(), tables) == "vacuous"
    verdict = says(tables)
    assert verdict.decision == "vacuous"
    assert verdict.effect != verdict.effect
    assert [cell["not certified"] for cell in verdict.cells] == [why]
    assert f"α > 0 but no noticeably lower loss found on {int(alpha > 0)}" in worded(verdict.reason)


@pytest.mark.parametrize(
    ("values", "curvature", "decision"),
    [
        ((0.1, 0.2), 0.3, "supported"),
        ((-0.1, 0.2), 0.3, "inconclusive"),
        ((-0.1, -0.2), 0.3, "inconclusive"),  # nothing is certified, and nothing found against it
        ((-0.1, -0.2), -0.3, "contradicted"),
        ((), 0.3, "not run"),
    ],
)
def test_convexity_reached(tables_of, values, curvature, decision):
    rows = [measured("convexity_limit", value, epoch=i) for i, value in enumerate(values)]
    rows.append(measured("sampled_curvature", curvature, coordinate=0.1))
    verdict = ConvexityReached().decide(tables_of(rows))
    assert verdict.decision == decision


@pytest.mark.parametrize("check", [PredictorBounds, NestedBounds])
def test_unknown_derivatives_are_refused(check):
    with pytest.raises(ValueError, match="of: got 'jacobian'; allowed: one of hessian, gradient"):
        check(of="jacobian")


WITH_TOLERANCE = [
    OrthogonalRows, RowScalingLaw, Sharpness, GapBound, RowNormsGrow, Descent, RestrictedConvexityHolds, LinearRate,
]  # fmt: skip
CHECKS = [PredictorBounds, NestedBounds, *WITH_TOLERANCE]


@pytest.mark.parametrize("check", WITH_TOLERANCE)
def test_negative_tolerances_are_refused(check):
    with pytest.raises(ValueError, match="tolerance: got -1; allowed: a number >= 0"):
        check(tolerance=-1)


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_measured_is_no_row(check, tables_of):
    assert len(check().rows(tables_of())) == 0
