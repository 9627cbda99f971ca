import pytest

from boundcheck.claims.gam_growth import FlatnessGrowth
from boundcheck.claims.theorem_holds import TheoremHolds
from boundcheck.contracts import NAN

CELL = ("mnist5k", "mlp", "sgd")


def tables_of(make_tables, flatness):
    rows = [
        (*CELL, seed, 10, 1.0, "first_order_flatness", -1, rho, flatness(rho), NAN, "flatness")
        for seed in (0, 1)
        for rho in (0.1, 0.05, 0.2)
    ]
    return make_tables({CELL: {0: 1.0, 1: 1.0}}, measurements=rows)


def test_every_radius_is_compared_with_the_one_before(make_tables):
    rows = FlatnessGrowth().rows(tables_of(make_tables, lambda rho: 3 * rho + 5 * rho**2))
    assert len(rows) == 4
    assert sorted(rows["coordinate"].unique()) == [0.1, 0.2]
    for row in rows.itertuples():
        assert row.bound == pytest.approx(2 * (3 * row.coordinate / 2 + 5 * row.coordinate**2 / 4))
        assert row.holds


def decision(make_tables, flatness):
    tables = tables_of(make_tables, flatness)
    checks = FlatnessGrowth().rows(tables).assign(check="c")
    return TheoremHolds("c", "s", "r").decide(tables._replace(checks=checks)).decision


def test_proportional_growth_attains_the_bound(make_tables):
    assert decision(make_tables, lambda rho: 2 * rho) == "supported"


def test_a_bound_that_is_a_little_tighter_is_violated(make_tables):
    """Growth like ρ^0.86 is what a bound 1.1 times as high would ask of growth in proportion."""
    assert decision(make_tables, lambda rho: rho**0.86) == "contradicted"
