"""Bounds drawn against the epoch and against swept settings."""

from __future__ import annotations

import pandas as pd
import pytest

from boundcheck.claims.shared.bound_sweep import BoundSweep, short_names
from boundcheck.claims.shared.figures import as_sentence, in_words
from boundcheck.claims.shared.rows import check_rows
from boundcheck.report.reasons import worded

KEYS = ["dataset", "model", "method", "seed", "step", "epoch"]
WIDTHS = (8, 16, 32)


@pytest.fixture
def tables(make_tables):
    """Two bounds on one measured number that depends on the width and the epoch."""
    cells = {("m", f"net_{w}", "gd"): {0: 1.0, 1: 1.0} for w in WIDTHS}
    specs = {f"net_{w}": {"kind": "net", "name": f"net_{w}", "width": w} for w in WIDTHS}
    keys = [("m", f"net_{w}", "gd", seed, e, float(e)) for w in WIDTHS for seed in (0, 1) for e in (0, 5, 9)]
    frame = pd.DataFrame(keys, columns=KEYS)
    widths = frame["model"].str.removeprefix("net_").astype(int)
    measured = (10 + frame["epoch"] + frame["seed"]) / widths
    rows = [check_rows(frame, f"norm ≤ B{i}", "upper", i * measured, measured) for i in (2, 3)]
    tables = make_tables(cells, specs=specs)
    runs = tables.runs.assign(dataset_spec=[{"kind": "m"}] * len(tables.runs))
    return tables._replace(runs=runs, checks=pd.concat(rows).assign(check="c"))


def test_decides_as_theorem_holds_does(tables):
    verdict = BoundSweep(check="c").decide(tables)
    assert (verdict.decision, verdict.num_runs, verdict.tightness) == ("supported", 6, 2.0)
    broken = tables._replace(checks=tables.checks.assign(holds=False))
    assert BoundSweep(check="c").decide(broken).decision == "contradicted"


def test_all_bounds_stand_beside_what_was_measured(tables):
    (figure,) = BoundSweep(check="c", against=["width"], quantity="norm").decide(tables).figures
    data = figure.data.set_index(["panel", "series", "x"]).sort_index()
    assert set(figure.data["panel"]) == {"gd: start", "gd: trained"}
    assert set(zip(figure.data["series"], figure.data["role"], strict=True)) == {
        ("measured", "measured"), ("B2", "bound"), ("B3", "bound")
    }  # fmt: skip
    for width in WIDTHS:
        start = data.loc[("gd: start", "measured", width)]
        assert (start["y"], start["low"], start["high"]) == pytest.approx((10.5 / width, 10 / width, 11 / width))
        assert data.loc[("gd: trained", "B3", width)]["y"] == pytest.approx(3 * 19.5 / width)
    assert (figure.x_label, figure.y_label, figure.log_x) == ("width m", "norm", True)


def test_against_the_epoch_only_what_is_shown(tables):
    (figure,) = BoundSweep(check="c", shown={"models": {"width": 8}}).decide(tables).figures
    assert set(figure.data["panel"]) == {"net_8"}
    assert sorted(set(figure.data["x"])) == [0, 5, 9]
    assert not BoundSweep(check="c", shown={"methods": "adam"}).decide(tables).figures
    assert BoundSweep(check="c", against=["width"], shown={"methods": "adam"}).decide(tables).figures
    assert not BoundSweep(check="c", against=["width"], swept={"methods": "adam"}).decide(tables).figures


def test_panels_are_named_by_what_tells_them_apart():
    names = ("dataset", "model", "method")
    cells = [
        ("d", "a", "gd"),
        ("d", "b", "gd"),
        ("e", "b", "gd"),
        ("d", "c", "gd"),
        ("d", "c", "sgd"),
        ("e", "c", "gd"),
    ]
    found = short_names(pd.DataFrame(cells, columns=names))
    assert found.tolist() == ["a", "b · d", "b · e", "c · d · gd", "c · d · sgd", "c · e"]


def test_captions_start_with_a_capital_letter_and_keep_symbols():
    assert as_sentence("norm of the Hessian") == "Norm of the Hessian"
    assert as_sentence("λ_max(∇²L)") == "λ_max(∇²L)"
    assert in_words("mean_predictor_hessian_norm") == "mean predictor Hessian norm"


def test_a_setting_that_was_not_swept_has_no_figure(tables):
    assert BoundSweep(check="c", against=["depth"]).decide(tables).figures == []


def test_rows_whose_premise_fails_are_not_drawn(tables):
    failed = tables._replace(checks=tables.checks.assign(premise_holds=False))
    verdict = BoundSweep(check="c", against=["width", "epoch"]).decide(failed)
    assert (verdict.decision, list(verdict.figures)) == ("vacuous", [])


def test_cells_that_the_theorem_does_not_cover_are_named_once_with_the_reason(tables):
    twin = {"kind": "weight_norm_mlp", "depth": 1, "width": 8, "normalised": False}
    specs = [twin if model == "net_8" else spec for model, spec in tables.runs[["model", "model_spec"]].to_numpy()]
    checks = tables.checks
    checks = checks.assign(bound=checks["bound"].mask(checks["model"] == "net_8"))
    checks = checks.assign(premise_holds=checks["bound"].notna())
    verdict = BoundSweep(check="c").decide(tables._replace(runs=tables.runs.assign(model_spec=specs), checks=checks))
    (row,) = (cell for cell in verdict.cells if cell["model"] == "net_8")
    assert (row["decision"], row["not applicable"]) == ("not run", "its rows are not normalised")
    assert verdict.decision == "supported"
    assert "not applicable to net_8: its rows are not normalised" in worded(verdict.reason)


def test_a_figure_shows_cells_chosen_by_what_they_are():
    with pytest.raises(ValueError, match="shown"):
        BoundSweep(check="c", shown={"cells": "net_8"})
