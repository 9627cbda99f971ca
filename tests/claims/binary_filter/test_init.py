"""Starts of several scales, made by hand."""

import math

import numpy as np
import pytest

from boundcheck.claims import CLAIMS
from boundcheck.registry import build
from boundcheck.report.reasons import worded
from boundcheck.theory.binary_filter.fade import extra_fade_steps

LATENT = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.1}
SEEDS, WEIGHTS = (0, 1, 2), 21


def decided(made, **settings):
    return build(CLAIMS, {"kind": "init_delays", **settings}).decide(made.tables())


def flipped_after(delay):
    """Of all weights ten flip at once."""
    bits = np.zeros((600, WEIGHTS), dtype=int)
    bits[round(delay) :, :10] = 1
    return bits


def gradients(*values):
    return [("gradient_rms", 10 * epoch, float(epoch), value) for epoch, value in enumerate(values or (0.01, 0.02), 1)]


def started(made, scales, slow=1.0):
    for scale in scales:
        delay = 5 + slow * float(extra_fade_steps(scale, 0.01))
        for seed in SEEDS:
            bits = flipped_after(round(delay) + seed)
            made.run(f"x{scale}", LATENT | {"init_scale": float(scale)}, bits, gradients(), seed=seed)


@pytest.mark.parametrize(("slow", "decision"), [(1.0, "supported"), (2.0, "contradicted")])
def test_starts_delay_by_a_logarithm(made, slow, decision):
    started(made, (1, 4, 16), slow)
    verdict = decided(made)
    assert verdict.decision == decision
    assert verdict.effect == pytest.approx(slow, rel=0.02)
    rows = {row["init scale"]: row for row in verdict.cells}
    assert rows[16.0]["extra steps"] == pytest.approx(slow * math.log(16) / -math.log(0.99), abs=1)
    assert rows[16.0]["bits equal to the smallest start's at the end (%)"] == 100
    assert set(verdict.figures[0].data["role"]) == {"measured", "formula"}


def test_trainings_that_differ_in_more_than_the_start_are_no_family(made):
    started(made, (1, 4, 16))
    before = decided(made)
    made.run("faster", LATENT | {"lr": 0.2, "init_scale": 8.0}, flipped_after(500), gradients())
    made.run(
        "cosine", LATENT | {"init_scale": 8.0}, flipped_after(500), gradients(), training={"lr_schedule": "cosine"}
    )
    made.run("arm", LATENT | {"init_scale": 8.0}, flipped_after(500), gradients(), roles=["control"])
    after = decided(made)
    assert (after.decision, after.effect, len(after.cells)) == (before.decision, before.effect, 3)


@pytest.mark.parametrize(("noise", "base", "named"), [(0.08, 1, ""), (0.09, 4, "1"), (0.35, 16, "1, 4"), (9.0, 0, "")])
def test_a_start_that_the_noise_outweighs_is_no_base(made, noise, base, named):
    """Starts U(−0.1 s, 0.1 s), whose root mean square 0.058 s outweighs noise up to 0.058 s √2 = 0.082 s."""
    for scale in (1, 4, 16, 64):
        for seed in SEEDS:
            bits = flipped_after(5 + float(extra_fade_steps(max(scale, base), 0.01)))
            spec = LATENT | {"init_scale": float(scale)}
            made.run(f"x{scale}", spec, bits, gradients(0.01, noise if seed == 1 else 0.01), seed=seed)
    verdict = decided(made)
    if not base:
        assert verdict.decision == "not run"
        assert worded(verdict.reason).endswith("no heavier than the gradients' noise: scale 1, 4, 16, 64")
        return
    assert verdict.decision == "supported"
    assert verdict.effect == pytest.approx(1, rel=0.02)
    assert [row["init scale"] for row in verdict.cells] == [s for s in (1.0, 4.0, 16.0, 64.0) if s >= base]
    assert f"at {len(verdict.cells) - 1} of " in worded(verdict.reason)
    expected = f"; no heavier than the gradients' noise: scale {named}" if named else " scales"
    assert worded(verdict.reason).endswith(expected)


def test_without_gradients_no_start_is_known_to_be_remembered(made):
    for scale in (1.0, 4.0):
        made.run(f"x{scale}", LATENT | {"init_scale": scale}, made.random_bits())
    verdict = decided(made)
    assert verdict.decision == "not run"
    expected = "fewer than two starts have bits and gradients that were recorded, and are remembered"
    assert worded(verdict.reason) == expected


def test_a_training_that_ended_before_its_flips_decides_nothing(made):
    started(made, (1, 4))
    made.run("x16", LATENT | {"init_scale": 16.0}, flipped_after(600), gradients())
    verdict = decided(made)
    assert verdict.decision == "supported"
    assert worded(verdict.reason).endswith("at 1 of 1 scale; at 1 the training ended before")
    for scale in (32.0, 64.0):
        made.run(f"x{scale}", LATENT | {"init_scale": scale}, flipped_after(600), gradients(), model="slow")
    verdict = decided(made, models={"name": "slow"})
    assert worded(verdict.reason) == "no run flipped 25% of its weights"


def test_a_share_of_more_than_all_is_refused():
    with pytest.raises(ValueError, match=r"share: got 1\.5"):
        build(CLAIMS, {"kind": "init_delays", "share": 1.5})
