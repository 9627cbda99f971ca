"""What the claims on weight normalisation look at, in the study's own config."""

from __future__ import annotations

import pytest

from boundcheck.cells.resolved import resolved_settings
from boundcheck.claims import CLAIMS
from boundcheck.claims.shared.baselines import SelectsPairs
from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.claims.shared.selection import SelectsCells
from boundcheck.planning.claims import claims_file, deciding_settings
from boundcheck.planning.grid import make_plan
from boundcheck.registry import build

COMPARED = {
    "normalisation_makes_the_hessian_smaller": {"normalised"},
    "normalisation_keeps_the_hessian_smaller_at_equal_lr": {"normalised"},
    "normalisation_keeps_the_hessian_smaller_at_certified_lr": {"normalised"},
    "normalisation_trains_faster_at_equal_lr": {"normalised"},
    "normalisation_trains_faster_at_certified_lr": {"normalised"},
    "normalisation_is_flatter_than_the_predecessor": {"normalised", "half_width", "row_norm"},
}


@pytest.fixture(scope="module")
def plan():
    return make_plan([claims_file("weight_norm").parents[4] / "config/config.yaml"])


@pytest.fixture(scope="module")
def claims(plan):
    variants = plan.config["studies"]["weight_norm"]["claims"]
    return {name: build(CLAIMS, deciding_settings(variant)) for name, variant in variants.items()}


@pytest.fixture(scope="module")
def cells(plan):
    cells = {}
    for batch in plan.of_study("weight_norm"):
        settings = resolved_settings({**batch.train, "analyses": []})
        key = (batch.dataset, batch.model, batch.method)
        cells[key] = {**settings, "roles": list(batch.roles), "seeds": list(batch.seeds)}
    return cells


def test_each_claim_can_be_decided(claims, cells):
    assert {name: claim.selects(cells).never for name, claim in claims.items()} == {key: [] for key in claims}


def test_networks_are_compared_with_those_that_differ_as_is_stated(claims, cells):
    differing = {}
    for name, claim in claims.items():
        for pair in claim.pairs(cells) if isinstance(claim, SelectsPairs) else ():
            own, other = cells[pair.cell]["model"], cells[pair.baseline]["model"]
            differing.setdefault(name, set()).update(k for k in own if own[k] != other[k])
            assert cells[pair.cell]["method"] == cells[pair.baseline]["method"]
    assert {name: names - {"name"} for name, names in differing.items()} == COMPARED


def test_every_figure_has_cells_to_show(claims, cells):
    for name, claim in claims.items():
        if isinstance(claim, BoundSweep):
            for shown in (claim.shown, claim.swept):
                assert SelectsCells(**shown).chosen(cells), name


def test_a_claim_about_a_setting_that_is_not_swept_can_never_be_decided(claims, cells):
    one_width = {key: cell for key, cell in cells.items() if cell["model"].get("width") == 64}
    without = {name for name, claim in claims.items() if claim.selects(one_width).never}
    assert without == {
        "hessian_falls_with_width",
        "hessian_falls_like_root_width_where_signals_survive",
        "gap_does_not_grow_with_width",
    }
