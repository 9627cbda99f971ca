"""Exponents of sweeps, and the sweeps themselves."""

from __future__ import annotations

import math

import pytest

from boundcheck.claims.shared.power_law import PowerLaw
from boundcheck.claims.shared.sweeps import sweep_rows
from boundcheck.contracts import NAN
from boundcheck.report.reasons import worded

NOISE = (0.99, 1.0, 1.015)


@pytest.fixture
def tables_of(make_tables):
    """Tables of y = value(width, seed) for each of several kinds of model, `{"tanh": function}`."""

    def tables_of(functions, widths=(8, 16, 32), statuses=None, **common):
        cells, specs, rows = {}, {}, []
        for activation, value in functions.items():
            for width in widths:
                cell = ("mnist", f"{activation}_{width}", "gd")
                specs[cell[1]] = {"kind": "net", "name": cell[1], "activation": activation, "width": width, **common}
                cells[cell] = dict.fromkeys(range(3), 1.0)
                for seed, noise in enumerate(NOISE):
                    for epoch, scale in ((0, 1.0), (2, 7.0)):
                        y = scale * value(width) * noise
                        rows.append((*cell, seed, 10 * epoch, float(epoch), "norm", -1, NAN, y, NAN, "a"))
                        rows.append((*cell, seed, 10 * epoch, float(epoch), "norm", 3, NAN, 99.0, NAN, "a"))
        tables = make_tables(cells, measurements=rows, specs=specs, statuses=statuses)
        return tables._replace(
            runs=tables.runs.assign(dataset_spec=[{"kind": "m", "train_size": 10}] * len(tables.runs))
        )

    return tables_of


def claim(**settings):
    return PowerLaw(**({"x": "width", "quantity": "norm", "at_most": -0.4} | settings))


def root(width):
    return 5 * width**-0.5


def test_the_exponent_with_its_interval(tables_of):
    verdict = claim().decide(tables_of({"tanh": root}))
    assert (verdict.decision, verdict.num_runs, verdict.unit) == ("supported", 9, "(exponent)")
    assert verdict.effect == pytest.approx(-0.5, abs=1e-12)
    assert verdict.low < -0.5 < verdict.high < -0.4
    (cell,) = verdict.cells
    assert cell["exponent"] == pytest.approx(-0.5)
    data = verdict.figures[0].data
    fitted = data[data["role"] == "formula"]
    geometric_mean = math.prod(NOISE) ** (1 / 3)
    assert fitted["y"].tolist() == pytest.approx([7 * root(w) * geometric_mean for w in (8, 16, 32)])


@pytest.mark.parametrize(
    ("settings", "decision"),
    [
        ({"at_most": -0.6}, "contradicted"),
        ({"at_most": -0.5}, "inconclusive"),
        ({"at_most": None, "at_least": -0.4}, "contradicted"),
        ({"at_most": -0.4, "at_least": -0.6}, "supported"),
        ({"x": "depth"}, "not run"),
        ({"quantity": "other"}, "not run"),
        ({"models": {"activation": "relu"}}, "not run"),
        ({"methods": "sgd"}, "not run"),
    ],
)
def test_decisions(tables_of, settings, decision):
    assert claim(**settings).decide(tables_of({"tanh": root})).decision == decision


def test_groups_differ_in_the_setting_only(tables_of):
    tables = tables_of({"tanh": root, "softplus": lambda width: 2 / width})
    verdict = claim().decide(tables)
    assert {cell["group"]: round(cell["exponent"], 6) for cell in verdict.cells} == {"softplus": -1.0, "tanh": -0.5}
    assert verdict.decision == "supported"
    verdict = claim(at_most=-0.8).decide(tables)
    assert verdict.decision == "inconclusive"
    assert [cell["decision"] for cell in verdict.cells] == ["supported", "contradicted"]
    assert claim(at_most=-0.8, models={"activation": "softplus"}).decide(tables).decision == "supported"


def test_at_an_epoch(tables_of):
    tables = tables_of({"tanh": root})
    tables.measurements.loc[tables.measurements["epoch"] == 0, "value"] = 1.0
    assert claim(at=0, at_most=None, at_least=0).decide(tables).effect == pytest.approx(0, abs=1e-9)


def test_change_per_doubling(tables_of):
    verdict = claim(logarithmic=False, at_most=1.0).decide(tables_of({"tanh": lambda width: math.log2(width) / 70}))
    assert verdict.effect == pytest.approx(0.1, rel=0.01)
    assert verdict.decision == "supported"
    assert verdict.unit == "per doubling"
    data = verdict.figures[0].data
    fitted = data[data["role"] == "formula"]["y"].tolist()
    assert fitted == pytest.approx([0.3, 0.4, 0.5], rel=0.02)


def test_two_values_are_no_sweep(tables_of):
    assert claim().decide(tables_of({"tanh": root}, widths=(8, 16))).decision == "not run"


def test_diverged_runs_are_left_out_and_named(tables_of):
    statuses = {("mnist", "tanh_8", "gd", 1): "diverged"}
    verdict = claim().decide(tables_of({"tanh": root}, statuses=statuses))
    assert verdict.num_runs == 8
    assert "1 run diverged" in worded(verdict.reason)


def test_a_setting_of_datasets(make_tables):
    cells = {(f"m{n}", "wn", "gd"): {0: 1.0 / n, 1: 1.01 / n} for n in (10, 20, 40)}
    tables = make_tables(cells, quantity="gap")
    sizes = [{"kind": "m", "name": d, "train_size": int(d[1:])} for d in tables.runs["dataset"]]
    tables = tables._replace(runs=tables.runs.assign(dataset_spec=sizes))
    verdict = claim(x="dataset.train_size", quantity="gap", source="curves").decide(tables)
    assert verdict.effect == pytest.approx(-1)
    rows = sweep_rows(tables.curves, tables.runs, "dataset.train_size")
    assert sorted(set(rows["x"])) == [10, 20, 40]
    assert set(rows["group"]) == {"gd"}


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="at_least, at_most: got none"):
        claim(at_most=None)
    with pytest.raises(ValueError, match=r"at_least: got 1; allowed: at most at_most \(0\)"):
        claim(at_least=1, at_most=0)
    with pytest.raises(ValueError, match="source: got 'checks'"):
        claim(source="checks")


@pytest.mark.parametrize(("at_most", "decision"), [(2.0, "vacuous"), (-0.4, "vacuous"), (-0.6, "contradicted")])
def test_what_falls_does_not_show_how_fast_it_may_grow(tables_of, at_most, decision):
    verdict = claim(at_most=at_most, vacuous_below=0).decide(tables_of({"tanh": root}))
    assert verdict.decision == decision
    assert claim(at_most=2, vacuous_below=0).decide(tables_of({"tanh": lambda width: width})).decision == "supported"


def test_what_may_grow_or_fall_is_in_the_range_and_not_trivially(tables_of):
    verdict = claim(at_most=2, vacuous_below=0).decide(tables_of({"tanh": lambda width: 1.0}))
    assert verdict.low < 0 < verdict.high
    assert verdict.decision == "supported"


def test_vacuous_groups_take_nothing_from_a_supported_one(tables_of):
    verdict = claim(at_most=2, vacuous_below=0).decide(tables_of({"tanh": root, "softplus": lambda width: width}))
    assert [cell["decision"] for cell in verdict.cells] == ["supported", "vacuous"]
    assert verdict.decision == "supported"


NEAREST = [({"at_most": 0}, "tanh", -0.5), ({"at_least": -2}, "softplus", -1)]


@pytest.mark.parametrize(("settings", "group", "slope"), NEAREST)
def test_the_effect_is_that_of_the_group_nearest_to_the_limit(tables_of, settings, group, slope):
    tables = tables_of({"tanh": root, "softplus": lambda width: 2 / width})
    verdict = claim(**{"at_most": None} | settings).decide(tables)
    assert (verdict.effect, verdict.unit) == (pytest.approx(slope), f"(exponent) of {group}")
    (cell,) = (cell for cell in verdict.cells if cell["group"] == group)
    assert (verdict.low, verdict.high) == (cell["low"], cell["high"])
