"""The grid of learning rates and weight decays, made by hand."""

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.claims.shared.selection import cells_of
from boundcheck.registry import build
from boundcheck.report.reasons import worded

LATENT = {"kind": "latent_sgd", "lr": 1.0, "weight_decay": 0.02}
SEEDS, WEIGHTS = (0, 1, 2), 21
CLAIM = {"kind": "act_through_product", "methods": {"kind": "latent_sgd"}, "centre": LATENT | {"init_scale": 1.0}}


def grid(made, ratio_matters=False, product_matters=True):
    """Equal products have equal bits, and accuracies that depend on the start; what is at lr 1 is of both families."""
    for family, lr in (("ratio", 0.5), ("ratio", 2.0), ("fixed", 0.5), ("fixed", 2.0), ("centre", 1.0)):
        for decay in (0.02, 0.04):
            for seed in SEEDS:
                product = lr * decay if product_matters else 0.02
                bits = made.random_bits(int(1000 * product) + seed)
                accuracy = 0.5 + lr * decay
                if family == "fixed" or (ratio_matters and family == "ratio"):
                    bits[-1, : int(2 * lr)] ^= 1
                    accuracy += 0.01 * (lr - 1)
                spec = LATENT | {"lr": lr, "weight_decay": decay, "init_scale": lr if family == "ratio" else 1.0}
                made.run(f"{family}_{lr}_{decay}", spec, bits, [("test_accuracy", 9, 1.0, accuracy)], seed=seed)
    return made.tables()


def decided(tables):
    return build(CLAIMS, CLAIM).decide(tables)


def test_product_of_learning_rate_and_decay(made):
    verdict = decided(grid(made))
    assert verdict.decision == "supported"
    # of each side's 15 pairs of cells two have equal products, and the pair at lr 1 is on both sides
    assert "0 bits differ between 6 pairs of runs of equal product" in worded(verdict.reason)
    assert "of 81 pairs of runs of another product or w₀/lr 81 have other bits" in worded(verdict.reason)
    assert verdict.effect == pytest.approx(1.0)  # accuracies at lr 1 and 2, 0.5 and 1: a point and half a point apart
    assert "the largest difference" in verdict.unit
    assert len(verdict.cells) == 12
    accuracy, by_product, by_centre = (
        figure.data.set_index(["panel", "series", "x"])["y"] for figure in verdict.figures
    )
    assert accuracy["w₀ ∝ lr", "0.04", 0.5] == pytest.approx(52)
    assert by_product["w₀ ∝ lr", "0.04", 0.5] == by_product["w₀ ∝ lr", "0.02", 2.0] == 100
    assert by_product["w₀ fixed", "0.04", 0.5] == pytest.approx(100 * (1 - 1 / WEIGHTS))
    assert ("w₀ ∝ lr", "0.02", 0.5) not in by_product.index  # nothing at lr 1 has its product
    assert by_centre["w₀ ∝ lr", "0.04", 0.5] == by_centre["w₀ fixed", "0.02", 1.0] == 100
    assert by_centre["w₀ ∝ lr", "0.04", 2.0] < 80


def test_product_is_contradicted_by_a_bit(made):
    assert decided(grid(made, ratio_matters=True)).decision == "contradicted"


def test_product_says_nothing_where_other_products_do_the_same(made):
    verdict = decided(grid(made, product_matters=False))
    assert verdict.decision == "inconclusive"
    assert "none differs in centre_1.0_0.02 | centre_1.0_0.04" in worded(verdict.reason)


def test_trainings_that_differ_in_more_are_not_of_the_grid(made):
    """With bits of their own they would contradict it."""
    before = decided(grid(made))
    bits = made.random_bits(99)
    same = LATENT | {"lr": 2.0, "init_scale": 2.0}
    made.run("momentum", same | {"momentum": 0.5}, bits)
    made.run("longer", same, bits, training={"epochs": 3})
    made.run("wider", same, bits, model="wider")
    made.run("arm", same, bits, roles=["control"])
    made.run("neither", LATENT | {"lr": 2.0, "init_scale": 3.0}, bits)
    after = decided(made.tables())
    assert (after.decision, after.effect, after.cells) == (before.decision, before.effect, before.cells)


@pytest.mark.parametrize("num_centres", [0, 1, 2])
def test_product_without_a_grid(made, num_centres):
    made.run("other", LATENT | {"lr": 2.0}, made.random_bits())
    for number in range(num_centres):
        made.run("centre", LATENT, made.random_bits(), model=f"mlp{number}")
    verdict = decided(made.tables())
    assert verdict.decision == "not run"
    (reason,) = verdict.reason
    assert reason.kind == "no_grid"
    cells = {key: {**cell, "seeds": [0]} for key, cell in cells_of(made.tables().runs).items()}
    assert build(CLAIMS, CLAIM).selects(cells).never
    grid(made)
    cells = {key: {**cell, "seeds": [0]} for key, cell in cells_of(made.tables().runs).items()}
    assert bool(build(CLAIMS, CLAIM).selects(cells).never) == (num_centres > 0)
