import math

import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.claims.shared.theorem_holds import TheoremHolds
from boundcheck.contracts import NAN
from boundcheck.report.reasons import worded

CLAIM = {"check": "ordered"}


def check_row(bound=2.0, measured=1.0, **changes):
    row = dict.fromkeys(schemas.CHECKS.names)
    row |= {"check": "ordered", "dataset": "mnist5k", "model": "mlp", "method": "sgd", "seed": 0, "step": 10}
    row |= {
        "epoch": 1.0,
        "coordinate": NAN,
        "theorem": "a ≤ b",
        "sense": "upper",
        "tolerance": 0.0,
        "premise_holds": True,
    }
    row |= {"bound": bound, "measured": measured, "tightness": bound / measured} | changes
    holds = measured <= bound + row["tolerance"] if row["premise_holds"] else None
    return {"holds": holds} | row | {"holds": holds}


@pytest.fixture
def decide(make_tables):
    def decide(rows, **settings):
        tables = make_tables({("mnist5k", "mlp", "sgd"): {0: 1.0}})
        checks = pd.DataFrame(rows, columns=schemas.CHECKS.names).astype({"holds": "boolean"})
        return TheoremHolds(**CLAIM, **settings).decide(tables._replace(checks=checks))

    return decide


def test_supported_where_every_row_holds(decide):
    verdict = decide([check_row(), check_row(3.0, 1.0, seed=1), check_row(4.0, 1.0, seed=1, step=20)])
    assert (verdict.decision, verdict.num_runs, verdict.tightness) == ("supported", 2, 3.0)
    assert "3 of 3 rows" in worded(verdict.reason)
    assert "2 (worst), 3 (median)" in worded(verdict.reason)


def test_one_row_outside_contradicts(decide):
    rows = [check_row() for _ in range(50)] + [
        check_row(1.0, 1.1, step=70),
        check_row(1.0, 1.5, seed=2, coordinate=0.25),
    ]
    verdict = decide(rows)
    assert verdict.decision == "contradicted"
    assert "2 rows violate it" in worded(verdict.reason)
    assert "mnist5k/mlp/sgd seed 2 step 10, coordinate 0.25: measured 1.5, stated ≤ 1" in worded(verdict.reason)
    assert verdict.cells[0]["violations"] == 2


def test_within_the_tolerance_is_inside(decide):
    assert decide([check_row(1.0, 1.1, tolerance=0.2)]).decision == "supported"


def test_rows_whose_premise_fails_do_not_count(decide):
    verdict = decide([check_row(), check_row(1.0, 9.0, premise_holds=False)])
    assert verdict.decision == "supported"
    assert "1 of 2 rows" in worded(verdict.reason)


def test_vacuous_where_the_premise_holds_nowhere(decide):
    verdict = decide([check_row(premise_holds=False), check_row(1.0, 9.0, premise_holds=False)])
    assert verdict.decision == "vacuous"
    assert "on none of 2 rows" in worded(verdict.reason)


@pytest.mark.parametrize(("limit", "decision"), [(None, "supported"), (99.0, "vacuous"), (100.0, "supported")])
def test_vacuous_where_the_bound_is_loose(decide, limit, decision):
    assert decide([check_row(100.0, 1.0)], vacuous_above=limit).decision == decision


def test_of_two_inequalities_the_tightest_counts(decide):
    rows = [check_row(100.0, 1.0, theorem="upper part"), check_row(1.2, 1.0, theorem="other part")]
    verdict = decide(rows, vacuous_above=10)
    assert (verdict.decision, verdict.tightness) == ("supported", 1.2)
    assert len(verdict.cells) == 2


def test_an_infinitely_loose_bound_is_vacuous(decide):
    assert decide([check_row(1.0, 1.0, tightness=math.inf)], vacuous_above=10).decision == "vacuous"


def test_a_loose_bound_that_fails_is_contradicted(decide):
    assert decide([check_row(100.0, 1.0), check_row(1.0, 2.0)], vacuous_above=2).decision == "contradicted"


def test_not_run_without_rows(decide):
    verdict = decide([check_row(check="another")])
    assert verdict.decision == "not run"
    assert "ordered" in worded(verdict.reason)


def test_not_run_says_what_is_missing(make_tables):
    tables = make_tables({("d", "m", "o"): {4: 1.0}}, statuses={("d", "m", "o", 4): "missing"})
    assert "1 run missing (d/m/o 4)" in worded(TheoremHolds(**CLAIM).decide(tables).reason)


def test_figures_show_bound_and_measured_against_epoch_and_coordinate(decide):
    rows = [
        check_row(2.0 * rho, rho * (1 + epoch), coordinate=rho, epoch=float(epoch), step=epoch, seed=seed)
        for rho in (0.1, 0.2)
        for epoch in (0, 1)
        for seed in (0, 1)
    ]
    by_epoch, by_coordinate = decide(rows, quantity="flatness", coordinate="radius ρ").figures
    assert (by_epoch.x_label, by_coordinate.x_label) == ("epoch", "radius ρ")
    assert {by_epoch.y_label, by_coordinate.y_label} == {"flatness"}
    data = by_epoch.data.set_index(["role", "x"])["y"]
    assert data.to_dict() == {("measured", 0.0): 0.2, ("measured", 1.0): 0.4, ("bound", 0.0): 0.4, ("bound", 1.0): 0.4}
    data = by_coordinate.data.set_index(["role", "x"])["y"]
    assert data["measured"].to_dict() == {0.1: 0.2, 0.2: 0.4}
    assert data["bound"].to_dict() == {0.1: 0.2, 0.2: 0.4}


def test_two_bounds_on_one_quantity_share_the_axes(decide):
    rows = [check_row(3.0, 2.0, epoch=float(e)) for e in (0, 1)]
    rows += [check_row(1.0, 2.0, epoch=float(e), sense="lower", theorem="b ≥ c", holds=True) for e in (0, 1)]
    (figure,) = decide(rows).figures
    assert sorted(set(figure.data["role"])) == ["lower bound", "measured", "upper bound"]
    assert "a ≤ b and b ≥ c" in figure.caption
    assert len(figure.data) == 6


def test_bounds_on_different_quantities_do_not(decide):
    rows = [check_row(3.0, 2.0), check_row(3.0, 2.5, theorem="other")]
    assert len(decide(rows).figures) == 2


def test_a_single_snapshot_is_drawn_as_points(decide):
    (figure,) = decide([check_row()]).figures
    assert figure.mark == "points"
    assert sorted(figure.data["role"]) == ["bound", "measured"]


@pytest.mark.parametrize("limit", [0.5, NAN])
def test_refuses_a_limit_below_one(limit):
    with pytest.raises(ValueError, match=r"^vacuous_above: got"):
        TheoremHolds(**CLAIM, vacuous_above=limit)


@pytest.mark.parametrize(("measured", "decision"), [(3e-9, "supported"), (2e-6, "contradicted")])
def test_an_equality_with_zero_says_how_far_apart_instead_of_how_tight(decide, measured, decision):
    equal = {"sense": "equal", "tightness": NAN, "tolerance": 1e-6, "holds": measured <= 1e-6}
    verdict = decide([check_row(0.0, 1e-12, **equal | {"holds": True}), check_row(0.0, measured, seed=1, **equal)])
    assert verdict.decision == decision
    assert f"equal up to {measured:.2g} (tolerance 1e-06)" in worded(verdict.reason)
    assert "nan" not in worded(verdict.reason)


def test_the_tightness_of_one_inequality_among_several(decide):
    rows = [check_row(100.0, 1.0, theorem="a ≤ B0"), check_row(1.2, 1.0, theorem="a ≤ B2")]
    verdict = decide(rows, tightness_of="a ≤ B0", vacuous_above=10)
    assert (verdict.decision, verdict.tightness) == ("vacuous", 100.0)
    assert "tightness of a ≤ B0 100 (worst), 100 (median)" in worded(verdict.reason)
