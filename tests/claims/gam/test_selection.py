"""What the claims on GAM look at: the cells of the study's own config, and nothing that somebody adds to it."""

import dataclasses
import math

import pandas as pd
import pytest

from boundcheck import tables as schemas
from boundcheck.claims import CLAIMS
from boundcheck.claims.shared.selection import cells_of
from boundcheck.contracts import NAN
from boundcheck.methods import METHODS
from boundcheck.planning.claims import claims_file, deciding_settings
from boundcheck.planning.grid import make_plan
from boundcheck.registry import build, resolved
from boundcheck.seeds import seed_for

QUANTITIES = {  # name -> coordinate
    "sharpness": NAN,
    "trace": NAN,
    "scale_free_sharpness": NAN,
    "first_order_flatness": 0.2,
    "relative_first_order_flatness": 0.01,
}
CURVES = ("test_accuracy", "test_loss", "full_train_loss")
CONFIG = "config/config.yaml"


@pytest.fixture(scope="module")
def plan():
    return make_plan([claims_file("gam").parents[4] / CONFIG])


@pytest.fixture(scope="module")
def claims(plan):
    """The claims that compare cells with cells."""
    variants = plan.config["studies"]["gam"]["claims"]
    built = {name: build(CLAIMS, deciding_settings(variant)) for name, variant in variants.items()}
    return {name: claim for name, claim in built.items() if hasattr(claim, "baseline") and claim.baseline_value is None}


def number(*parts):
    return 1 + seed_for("test", "gam", "/".join(map(str, parts)), 0) % 1000 / 1000


def cell_tables(make_tables, cells):
    """Numbers for every quantity, made of the names of the cells."""
    values = {key: {seed: number(key, seed) for seed in range(3)} for key in cells}
    tables = make_tables(
        values,
        methods={key[2]: cell["method"] for key, cell in cells.items()},
        training={key: cell["training"] for key, cell in cells.items()},
        roles={key: cell["roles"] for key, cell in cells.items()},
        measurements=[
            (*key, seed, 20, 2.0, name, -1, coordinate, number(*key, seed, name), NAN, "a")
            for key in cells
            for seed in range(3)
            for name, coordinate in QUANTITIES.items()
        ],
    )
    curves = [
        (*key, seed, 20, 2.0, name, -1, NAN, number(*key, seed, name), NAN)
        for key in cells
        for seed in range(3)
        for name in CURVES
    ]
    return tables._replace(curves=pd.DataFrame(curves, columns=["dataset", "model", "method", *schemas.TIDY.names]))


@pytest.fixture(scope="module")
def cells(plan):
    """The cells of the study, with what selects them."""
    return {
        (batch.dataset, batch.model, batch.method): {
            "method": resolved(METHODS, {k: v for k, v in batch.train["method"].items() if k != "name"}),
            "training": batch.train["training"],
            "roles": list(batch.roles),
        }
        for batch in plan.of_study("gam")
    }


def decided(claims, tables):
    return {name: dataclasses.astuple(claim.decide(tables))[:5] for name, claim in claims.items()}


def test_every_comparison_has_cells_with_a_baseline(make_tables, cells, claims):
    runs = cell_tables(make_tables, cells).runs
    planned = {key: {**cell, "seeds": [0, 1, 2]} for key, cell in cells_of(runs).items()}
    selected = {name: claim.selects(planned) for name, claim in claims.items()}
    assert len(selected) == 33
    assert {name: found.never for name, found in selected.items() if found.never} == {}


def test_an_added_arm_moves_no_verdict(make_tables, cells, claims):
    """Neither a sweep of GAM in a block of another role, nor other methods in a block of the role `main`."""
    before = decided(claims, cell_tables(make_tables, cells))
    assert not any(math.isnan(effect) for *_, effect, _, _ in before.values())
    gam = cells["mnist2000", "mlp", "gam_exact"]
    momentum = {"kind": "heavy_ball", "lr": 0.1, "momentum": 0.9, "num_gradients": 1}
    arms = {
        ("mnist2000", "mlp", "gam_rho0.3"): {**gam, "method": {**gam["method"], "rho": 0.3}, "roles": ["sweep"]},
        ("mnist2000", "mlp", "sgd_again"): {**cells["mnist2000", "mlp", "sgd"], "roles": ["sweep"]},
        ("mnist2000", "mlp", "heavy_ball"): {**gam, "method": momentum},
    }
    assert decided(claims, cell_tables(make_tables, cells | arms)) == before
    of_main = {key: {**arm, "roles": ["main"]} for key, arm in arms.items()}
    moved = decided(claims, cell_tables(make_tables, cells | of_main))
    assert moved["sharpness_of_gam_against_sgd"] != before["sharpness_of_gam_against_sgd"]  # the roles did it
