import pytest

from boundcheck.claims.gam import risk as gam_risk
from boundcheck.claims.gam.risk import PacBayes, RiskBoundSays
from boundcheck.contracts import NAN
from boundcheck.theory.gam.risk import pac_bayes_bound

CELL = ("d", "m", "sgd")
SIZES = {"num_parameters": 10, "num_samples": 1_000_000, "parameter_norm": 1.0, "loss": 0.2}
NOISE = {"noisy_test_loss": 0.25, "noise_tail": 0.0005, "largest_loss": 2.0}


def tables_of(make_tables, sizes=None, noise=None, num_flat=1_000_000, flatness=0.05):
    def row(seed, quantity, value, coordinate=NAN, analysis="noise"):
        return (*CELL, seed, 10, 1.0, quantity, -1, coordinate, value, NAN, analysis)

    rows = []
    for seed in (0, 1):
        rows += [row(seed, name, value) for name, value in {**SIZES, **(sizes or {})}.items()]
        rows += [row(seed, name, value, 0.1) for name, value in {**NOISE, **(noise or {})}.items()]
        rows.append(row(seed, "num_samples", num_flat, analysis="flatness"))
        rows.append(row(seed, "first_order_flatness", flatness, 0.1, analysis="flatness"))
    return make_tables({CELL: {0: 1.0, 1: 1.0}}, measurements=rows)


def verdict(tables):
    checks = PacBayes().rows(tables).assign(check="c")
    return RiskBoundSays(check="c").decide(tables._replace(checks=checks))


def test_the_bound_is_the_theorys(make_tables):
    rows = PacBayes().rows(tables_of(make_tables))
    expected = pac_bayes_bound(0.2, 0.05, 1.0, num_parameters=10, num_samples=1_000_000, rho=0.1, loss_bound=2.0).total
    risk = rows[rows["theorem"].str.startswith("E")]
    assert risk["bound"].tolist() == pytest.approx([float(expected)] * 2)
    assert risk["measured"].tolist() == [0.25] * 2
    assert rows["bound"].min() == pytest.approx(0.001)
    assert rows["holds"].all()


def test_many_examples_and_few_parameters_make_it_say_something(make_tables):
    found = verdict(tables_of(make_tables))
    assert found.decision == "supported"
    assert found.cells[0]["bound"] == pytest.approx(
        sum(found.cells[0][name] for name in ("L̂", "R¹(ρ)", "M/√n", "complexity"))
    )
    told = {"n": 1_000_000, "d": 10, "‖θ‖": 1.0, "δ": 0.05, "ρ": 0.1, "1/√n": pytest.approx(0.001)}
    assert told.items() <= found.cells[0].items()
    assert found.cells[0]["P(‖ε‖ > ρ)"] <= 0.001


def test_few_examples_make_it_vacuous(make_tables):
    found = verdict(tables_of(make_tables, sizes={"num_samples": 100, "num_parameters": 5000}, num_flat=100))
    assert found.decision == "vacuous"


def test_numbers_on_other_examples_do_not_meet(make_tables):
    assert verdict(tables_of(make_tables, num_flat=500)).decision == "not run"


def test_the_bound_divided_by_its_tightness_is_violated(make_tables, monkeypatch):
    tables = tables_of(make_tables)
    rows = PacBayes().rows(tables)
    tightness = rows.loc[rows["theorem"].str.startswith("E"), "tightness"].min()
    whole = gam_risk.risk_bound

    class Smaller:
        def __init__(self, *arguments):
            bound = whole(*arguments)
            self.total = bound.total / (1.1 * tightness)
            self.is_vacuous, self.tail, self.complexity = bound.is_vacuous, bound.tail, bound.complexity
            self.loss_bound = bound.loss_bound

    monkeypatch.setattr(gam_risk, "risk_bound", Smaller)
    assert verdict(tables).decision == "contradicted"


def test_a_tail_that_is_too_heavy_is_violated(make_tables):
    assert verdict(tables_of(make_tables, noise={"noise_tail": 0.0012})).decision == "contradicted"
