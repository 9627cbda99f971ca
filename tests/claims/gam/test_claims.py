import itertools
import math

import pytest

from boundcheck.claims.gam.flatness import FlatnessCurvature, ZerothBelowFirst, has_lipschitz_hessian
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.contracts import NAN

CELL = ("mnist5k", "mlp", "sgd")
RADII, SEEDS, EPOCHS = (0.05, 0.1), (0, 1), (0, 5)


def measured(quantity, value, seed=0, epoch=0, rho=NAN, error=NAN, analysis="flatness", cell=CELL):
    return (*cell, seed, 10 * epoch, float(epoch), quantity, -1, rho, value, error, analysis)


def everywhere(numbers):
    """Rows of {quantity: value or function of (seed, epoch, rho)}; values that are numbers have no radius."""
    rows = []
    for seed, epoch in itertools.product(SEEDS, EPOCHS):
        for quantity, value in numbers.items():
            if callable(value):
                rows += [measured(quantity, value(seed, epoch, rho), seed, epoch, rho) for rho in RADII]
            else:
                rows.append(measured(quantity, value, seed, epoch))
    return rows


@pytest.fixture
def tables_of(make_tables):
    def tables_of(rows, spec=None):
        return make_tables({CELL: dict.fromkeys(SEEDS, 1.0)}, measurements=rows, specs={"mlp": spec} if spec else None)

    return tables_of


def decided(check, tables):
    checks = check.rows(tables).assign(check="c")
    return TheoremHolds(check="c").decide(tables._replace(checks=checks)).decision


def first(seed, epoch, rho):
    return rho * (1 + seed + epoch) + rho**2


def test_zeroth_below_first_has_a_row_for_every_snapshot_and_radius(tables_of):
    rows = everywhere({"zeroth_order_flatness": lambda *at: 0.5 * first(*at), "first_order_flatness": first})
    found = ZerothBelowFirst().rows(tables_of(rows))
    assert len(found) == len(SEEDS) * len(EPOCHS) * len(RADII)
    for row in found.itertuples():
        bound = first(row.seed, row.epoch, row.coordinate)
        assert row.bound == pytest.approx(bound)
        assert row.measured == pytest.approx(0.5 * bound)
        assert row.tightness == pytest.approx(2)
        assert row.step == 10 * row.epoch
        assert row.premise_holds
        assert row.holds


@pytest.mark.parametrize(
    ("ratio", "decision"), [(0.5, "supported"), (1.0, "supported"), (1.0005, "supported"), (1.002, "contradicted")]
)
def test_zeroth_below_first_decides(tables_of, ratio, decision):
    rows = everywhere({"zeroth_order_flatness": lambda *at: ratio * first(*at), "first_order_flatness": first})
    assert decided(ZerothBelowFirst(), tables_of(rows)) == decision


def test_one_bad_snapshot_is_enough(tables_of):
    def zeroth(seed, epoch, rho):
        return first(seed, epoch, rho) * (1.1 if (seed, epoch, rho) == (1, 5, 0.1) else 0.9)

    rows = everywhere({"zeroth_order_flatness": zeroth, "first_order_flatness": first})
    found = ZerothBelowFirst().rows(tables_of(rows))
    bad = found[~found["holds"].astype(bool)]
    assert bad[["seed", "epoch", "coordinate"]].to_numpy().tolist() == [[1, 5, 0.1]]


def test_what_the_ascents_missed_excuses_nothing(tables_of):
    def rows(zeroth):
        pair = [("zeroth_order_flatness", zeroth), ("first_order_flatness", 1.0)]
        return [measured(name, value, rho=0.1, error=0.5) for name, value in pair]

    assert decided(ZerothBelowFirst(), tables_of(rows(1.0))) == "supported"
    assert decided(ZerothBelowFirst(), tables_of(rows(1.002))) == "contradicted"


def test_radii_in_units_of_the_norm_are_checked_apart(tables_of):
    rows = [measured(f"{p}{o}_order_flatness", 1.0, rho=0.1) for p in ("", "relative_") for o in ("zeroth", "first")]
    assert ZerothBelowFirst().rows(tables_of(rows))["theorem"].tolist() == ["R⁰(ρ) ≤ R¹(ρ)", "R⁰(ρ) ≤ R¹(ρ), ρ = κ‖θ‖"]


def test_a_flatness_without_the_other_is_no_row(tables_of):
    rows = [measured("zeroth_order_flatness", 1.0, rho=0.1), measured("first_order_flatness", 1.0, rho=0.2)]
    rows += [measured("first_order_flatness", 1.0, rho=0.1, analysis="other")]
    tables = tables_of(rows)
    assert len(ZerothBelowFirst().rows(tables)) == 0
    assert decided(ZerothBelowFirst(), tables) == "not run"


H, G, LIPSCHITZ = 3.0, 0.2, 4.0


def curvature(flatness):
    return everywhere(
        {
            "first_order_flatness": flatness,
            "hessian_lipschitz": lambda *at: LIPSCHITZ,
            "spectral_norm": H,
            "gradient_norm": G,
        }
    )


def test_flatness_curvature_has_both_sides(tables_of):
    found = FlatnessCurvature().rows(tables_of(curvature(lambda seed, epoch, rho: rho**2 * H)))
    assert len(found) == 2 * len(SEEDS) * len(EPOCHS) * len(RADII)
    for row in found.itertuples():
        rho = row.coordinate
        upper, lower = H + G / rho + LIPSCHITZ * rho / 2, H - LIPSCHITZ * rho / 2
        assert row.measured == pytest.approx(H)
        assert row.bound == pytest.approx(upper if row.sense == "upper" else lower)
        assert row.tightness == pytest.approx(upper / H if row.sense == "upper" else H / lower)
        assert row.holds


@pytest.mark.parametrize(("excess", "decision"), [(1.0, "supported"), (1.0005, "supported"), (1.01, "contradicted")])
def test_flatness_above_the_upper_bound(tables_of, excess, decision):
    rows = curvature(lambda seed, epoch, rho: excess * rho**2 * (H + G / rho + LIPSCHITZ * rho / 2))
    assert decided(FlatnessCurvature(), tables_of(rows)) == decision


@pytest.mark.parametrize(("part", "decision"), [(1.0, "supported"), (0.99, "contradicted")])
def test_flatness_below_the_lower_bound(tables_of, part, decision):
    rows = curvature(lambda seed, epoch, rho: part * rho**2 * (H - LIPSCHITZ * rho / 2))
    assert decided(FlatnessCurvature(tolerance=1e-6), tables_of(rows)) == decision


def test_stated_errors_widen_the_tolerance(tables_of):
    def rows(error):
        at_point = [measured("spectral_norm", H, error=error), measured("gradient_norm", 0.0)]
        return [
            *at_point,
            measured("first_order_flatness", 0.01 * 3.1, rho=0.1),
            measured("hessian_lipschitz", 0.0, rho=0.1),
        ]

    assert decided(FlatnessCurvature(), tables_of(rows(NAN))) == "contradicted"
    assert decided(FlatnessCurvature(), tables_of(rows(0.05))) == "contradicted"
    assert decided(FlatnessCurvature(), tables_of(rows(0.11))) == "supported"


def test_kinks_have_no_lipschitz_hessian(tables_of):
    rows = curvature(lambda seed, epoch, rho: 100.0)
    tables = tables_of(rows, {"kind": "mlp", "depth": 1, "width": 4, "activation": "relu"})
    found = FlatnessCurvature().rows(tables)
    assert not found["premise_holds"].any()
    assert found["holds"].isna().all()
    assert decided(FlatnessCurvature(), tables) == "vacuous"


def test_numbers_of_different_analyses_do_not_meet(tables_of):
    rows = curvature(first)
    moved = [row if row[6] != "spectral_norm" else (*row[:-1], "spectrum") for row in rows]
    assert len(FlatnessCurvature().rows(tables_of(rows))) > 0
    assert len(FlatnessCurvature().rows(tables_of(moved))) == 0


@pytest.mark.parametrize(
    ("model", "smooth"),
    [
        ({"kind": "mlp", "depth": 1, "width": 4}, True),  # tanh is its default
        ({"kind": "mlp", "depth": 1, "width": 4, "activation": "gelu"}, True),
        ({"kind": "mlp", "depth": 1, "width": 4, "activation": "relu"}, False),
        ({"kind": "resnet", "depth": 8}, False),
        ({"kind": "vit", "patch": 4, "dim": 32, "depth": 2, "heads": 4}, True),
    ],
)
def test_networks_of_smooth_functions_have_a_lipschitz_hessian(tables_of, model, smooth):
    tables = tables_of([measured("gradient_norm", 1.0)], model)
    assert has_lipschitz_hessian(tables.measurements, tables.runs).tolist() == [smooth]


@pytest.mark.parametrize("check", [ZerothBelowFirst, FlatnessCurvature])
@pytest.mark.parametrize("tolerance", [-1e-9, math.nan])
def test_refuses_a_negative_tolerance(check, tolerance):
    with pytest.raises(ValueError, match="tolerance: got"):
        check(tolerance=tolerance)
