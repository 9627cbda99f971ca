"""What the claims of the paper select from the grid of the default scale."""

import pytest
import yaml

from boundcheck.cells.resolved import resolved_settings
from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.planning.claims import claims_file, deciding_settings
from boundcheck.planning.grid import make_plan
from boundcheck.registry import build

MNIST, DIGITS = "mnist1000_pool14/mlp64", "digits/mlp32"
ROWS = ("sgd", "average", "heavy_ball", "momentum", "dampening", "nesterov", "adamw", "no_decay")


@pytest.fixture(scope="module")
def cells(root):
    batches = make_plan([root / "config/config.yaml"]).of_study("binary_filter")
    seeds = {}
    for batch in batches:
        seeds.setdefault(tuple(batch.cell.split("/")[1:]), []).extend(batch.seeds)
    return {
        (batch.dataset, batch.model, batch.method): {
            **resolved_settings(batch.train),
            "roles": list(batch.roles),
            "seeds": seeds[batch.dataset, batch.model, batch.method],
        }
        for batch in batches
    }


@pytest.fixture(scope="module")
def paper():
    return yaml.safe_load(claims_file("binary_filter").read_text(encoding="utf-8"))


def related(claim, cells):
    return {f"{'/'.join(first)} {second[2]}" for first, second in claim.related(cells)}


def test_every_claim_can_be_decided(cells, paper):
    for name, variant in paper["claims"].items():
        selected = build(CLAIMS, deciding_settings(variant)).selects(cells)
        assert not selected.never, (name, selected.never)
        assert selected.num_seeds == 3, name


def test_checks_compare_what_theory_calls_equal(cells, paper):
    checks = {name: related(build(CHECKS, variant), cells) for name, variant in paper["checks"].items()}
    assert checks["closed_loop"] == {
        *(f"{DIGITS}/{row} {row}_filter" for row in ROWS),
        f"{DIGITS}/momentum_clip momentum_filter",
        "digits/mlp32_form1/sgd sgd_filter",
        "digits/mlp32_form2/sgd sgd_filter",
        "digits/mlp256/momentum momentum_filter",
    }
    assert checks["symmetry"] == {
        f"{DIGITS}/momentum momentum_x64",
        f"{DIGITS}/momentum_clip momentum_x64_clip",
        "digits/mlp32_clipped/momentum momentum_x64",
        "digits/mlp32_form1/sgd sgd_x4",
        "digits/mlp32_form2/sgd sgd_x4",
        "digits/birealnet8/latent_sgd latent_sgd_x4",
        f"{MNIST}/ratio_lr0.0625_wd0.004 sgd_lr0.25_wd0.001",
        f"{MNIST}/sgd_lr0.25_wd0.004 ratio_lr1_wd0.001",
        f"{MNIST}/sgd_lr0.25_wd0.016 ratio_lr1_wd0.004",
    }
    assert checks["symmetry_of_form_2"] == {"digits/mlp32_form2/sgd sgd_x4_form2"}


@pytest.mark.parametrize(
    ("claim", "pairs"),
    [
        (
            "equivalence_ends_at_clipping_and_wrong_rates",
            {
                f"{DIGITS}/momentum momentum_clip",  # never active, which only the runs tell
                f"{DIGITS}/momentum_x64 momentum_x64_clip",
                f"{DIGITS}/momentum wrong_product",
                f"{DIGITS}/momentum wrong_frozen_roots",
            },
        ),
        ("float32_decides_near_ties", {"digits/mlp256/momentum momentum_filter"}),
        ("masked_gradients_feel_the_magnitude", {"digits/mlp32_clipped/momentum momentum_x64"}),
        (
            "form_2_feels_the_magnitude",
            {"digits/mlp32_form2/sgd sgd_filter", "digits/mlp32_form2/sgd sgd_x4"},
        ),
    ],
)
def test_where_the_equivalence_ends(cells, paper, claim, pairs):
    assert related(build(CLAIMS, deciding_settings(paper["claims"][claim])), cells) == pairs


@pytest.mark.parametrize(
    ("claim", "methods"),
    [
        ("mappings_replayed", {"momentum", "momentum_constant", "momentum_step"}),
        ("larger_starts_delay", {"start_x1", "start_x8", "start_x64"}),
        ("third_order_adds_little", {"filter_order2", "filter_alpha0.01", "filter_order3"}),
    ],
)
def test_what_claims_look_at(cells, paper, claim, methods):
    assert {
        cell[2] for cell in build(CLAIMS, deciding_settings(paper["claims"][claim])).selects(cells).cells
    } == methods


@pytest.mark.parametrize("name", ["second_order_beats_first", "decay_of_alpha_helps"])
def test_baselines_are_filters_with_the_same_alpha(cells, paper, name):
    baselines = build(CLAIMS, deciding_settings(paper["claims"][name])).selects(cells).baselines
    found = {f"{'/'.join(cell[1:])} {base[2]}" for cell, base in baselines.items() if base}
    expected = {
        "second_order_beats_first": {
            "mlp64/filter_alpha0.01 filter_order1",
            "birealnet8/filter_order2 filter_order1",
        },
        "decay_of_alpha_helps": {"mlp64/filter_alpha0.01 filter_order2_constant"},
    }
    assert found == expected[name]


def test_each_method_is_tuned_over_equally_many_settings(cells, paper):
    claim = build(CLAIMS, deciding_settings(paper["claims"]["fewer_hyperparameters_at_similar_accuracy"]))
    kinds = {}
    for cell in claim.selects(cells).cells:
        kinds.setdefault((*cell[:2], cells[cell]["method"]["kind"]), []).append(cell[2])
    assert len(kinds) == 8
    assert {len(methods) for (_, model, _), methods in kinds.items() if model == "mlp64"} == {3}
    assert {len(methods) for (_, model, _), methods in kinds.items() if model == "birealnet8"} == {1}
