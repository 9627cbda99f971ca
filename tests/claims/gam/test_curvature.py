"""What R¹ certifies of ‖H‖: on a function whose R¹ has a closed form, L(x) = h x²/2 + c |x|³/6 + g x."""

import math

import pytest

from boundcheck.claims.gam.curvature import CertifiesCurvature
from boundcheck.contracts import NAN

CELL = ("d", "m", "sgd")
RELU = {"m": {"kind": "mlp", "depth": 1, "width": 4, "activation": "relu"}}


def steepest(h, c, g, rho):
    """R¹ at 0: the gradient is largest at the end where it adds to g."""
    return rho * (g + h * rho + c * rho**2 / 2)


def tables_of(make_tables, h=2.0, c=1.0, g=0.01, rhos=(0.05, 0.1, 0.2, 0.4), told=None, specs=None, epochs=(2,)):
    def row(seed, epoch, quantity, value, coordinate=NAN):
        return (*CELL, seed, 10 * epoch, float(epoch), quantity, -1, coordinate, value, NAN, "flatness")

    rows = []
    for seed, epoch in [(seed, epoch) for seed in (0, 1) for epoch in epochs]:
        rows += [row(seed, epoch, "spectral_norm", h if told is None else told), row(seed, epoch, "gradient_norm", g)]
        for rho in rhos:
            rows.append(row(seed, epoch, "first_order_flatness", steepest(h, c, g, rho), rho))
            rows.append(row(seed, epoch, "hessian_lipschitz", c, rho))
    return make_tables({CELL: {0: 1.0, 1: 1.0}}, measurements=rows, specs=specs)


def decide(tables, accuracy=1.0):
    return CertifiesCurvature(accuracy=accuracy).decide(tables)


def test_the_best_radius_is_the_theorys(make_tables):
    c, g = 1.0, 0.02
    best = math.sqrt(2 * g / c)
    found = decide(tables_of(make_tables, c=c, g=g, rhos=(best / 4, best / 2, best, 2 * best, 4 * best)))
    cell = found.cells[0]
    assert (found.decision, found.num_runs, cell["n"]) == ("supported", 2, 2)
    assert cell["ρ"] == cell["ρ*"] == pytest.approx(best)
    assert cell["accuracy"] == pytest.approx(math.sqrt(2 * g * c) / 2.0)
    assert cell["lower"] == pytest.approx(2.0)  # attained: the gradient, the curvature and its change add up
    assert cell["upper"] > 2.0


def test_a_coarser_one_than_asked_is_vacuous(make_tables):
    tables = tables_of(make_tables)
    accuracy = decide(tables).cells[0]["accuracy"]
    assert decide(tables, 1.01 * accuracy).decision == "supported"
    assert decide(tables, 0.99 * accuracy).decision == "vacuous"


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_a_curvature_outside_contradicts(make_tables, side):
    end = decide(tables_of(make_tables)).cells[0][side]
    beyond, within = (end - 0.01, end + 0.01) if side == "lower" else (end + 0.01, end - 0.01)
    assert decide(tables_of(make_tables, told=beyond)).decision == "contradicted"
    assert decide(tables_of(make_tables, told=within)).decision == "supported"


def test_only_the_last_snapshot_counts(make_tables):
    found = decide(tables_of(make_tables, epochs=(0, 2)))
    assert found.num_runs == 2


def test_a_network_with_kinks_has_no_interval(make_tables):
    assert decide(tables_of(make_tables, specs=RELU)).decision == "not run"


def test_an_accuracy_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="accuracy: got 0; allowed: a number > 0"):
        CertifiesCurvature(accuracy=0)
