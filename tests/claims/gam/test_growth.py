import pytest

from boundcheck.claims.gam.flatness import FlatnessGrowth, ZerothBelowIntegral
from boundcheck.claims.shared.theorem_holds import TheoremHolds
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
    return TheoremHolds(check="c").decide(tables._replace(checks=checks)).decision


def test_proportional_growth_attains_the_bound(make_tables):
    assert decision(make_tables, lambda rho: 2 * rho) == "supported"


def test_a_bound_that_is_a_little_tighter_is_violated(make_tables):
    """Growth like ρ^0.86 is what a bound 1.1 times as high would ask of growth in proportion."""
    assert decision(make_tables, lambda rho: rho**0.86) == "contradicted"


def integral_rows(make_tables, zeroth, first, radii=(0.1, 0.05, 0.2)):
    quantities = {"zeroth_order_flatness": zeroth, "first_order_flatness": first}
    rows = [
        (*CELL, seed, 10, 1.0, name, -1, rho, flatness(rho), NAN, "flatness")
        for seed in (0, 1)
        for rho in radii
        for name, flatness in quantities.items()
    ]
    return ZerothBelowIntegral().rows(make_tables({CELL: {0: 1.0, 1: 1.0}}, measurements=rows))


def test_the_upper_sum_bounds_the_zeroth_order(make_tables):
    """A quadratic along its top eigenvector: R⁰ = aρ²/2, R¹ = aρ², the sum over 0.05, 0.1, 0.2 lies between."""
    rows = integral_rows(make_tables, lambda rho: 3 * rho**2 / 2, lambda rho: 3 * rho**2)
    assert sorted(rows["coordinate"]) == [0.1, 0.1, 0.2, 0.2]
    sums = {0.1: 3 * (0.05 * 0.05 + 0.05 * 0.1), 0.2: 3 * (0.05 * 0.05 + 0.05 * 0.1 + 0.1 * 0.2)}
    for row in rows.itertuples():
        assert row.bound == pytest.approx(sums[row.coordinate])
        assert 3 * row.coordinate**2 / 2 < row.bound < 3 * row.coordinate**2
        assert row.holds


def test_an_integral_bound_that_is_a_little_tighter_is_violated(make_tables):
    def sum_of(rho):
        return {0.05: 0.05 * 0.05, 0.1: 0.05 * 0.05 + 0.05 * 0.1}.get(rho, 0.05 * 0.05 + 0.05 * 0.1 + 0.1 * 0.2)

    assert integral_rows(make_tables, sum_of, lambda rho: rho**2).holds.all()
    assert not integral_rows(make_tables, lambda rho: 1.1 * sum_of(rho), lambda rho: rho**2).holds.any()


def test_one_radius_says_nothing(make_tables):
    assert len(integral_rows(make_tables, lambda rho: rho, lambda rho: rho, radii=(0.1,))) == 0
