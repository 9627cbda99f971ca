"""Mappings replayed on the gradients of one run, made by hand."""

import pytest

from boundcheck.claims import CLAIMS
from boundcheck.claims.binary_filter.replayed import IN_WORDS
from boundcheck.methods.mapped_filter import MAPPINGS
from boundcheck.registry import build
from boundcheck.report.reasons import worded

NAMES = ("state_space", "scaled_alpha", "product")
SEEDS = (0, 1, 2)


def decided(made):
    return build(CLAIMS, {"kind": "replayed_mappings"}).decide(made.tables())


@pytest.mark.parametrize(
    ("training", "shares", "decision"),
    [
        ({"lr_schedule": "cosine"}, (0.0, 0.01, 0.3), "supported"),
        ({}, (0.0, 0.0, 0.3), "supported"),
        ({}, (0.0, 0.01, 0.3), "contradicted"),
        ({"warmup_epochs": 1.0}, (0.0, 0.01, 0.3), "supported"),  # no constant rate
        ({"lr_schedule": "cosine"}, (0.001, 0.01, 0.3), "contradicted"),
        ({"lr_schedule": "cosine"}, (0.0, 0.01, 0.0), "inconclusive"),
    ],
)
def test_replayed_mappings(made, training, shares, decision):
    for seed in SEEDS:
        curves = [
            ("bits_wrong", 10 * epoch, float(epoch), share, MAPPINGS.index(name))
            for epoch in (1, 2)
            for name, share in zip(NAMES, shares, strict=True)
        ]
        made.run("latent", {"kind": "latent_sgd", "lr": 0.1}, curves=curves, seed=seed, training=training)
    verdict = decided(made)
    assert verdict.decision == decision
    assert verdict.num_runs == len(SEEDS)
    wrong = {row["mapping"]: row["bits wrong per step (%)"] for row in verdict.cells}
    assert wrong == pytest.approx({IN_WORDS[name]: 100 * share for name, share in zip(NAMES, shares, strict=True)})


def test_what_is_not_as_stated_is_named(made):
    made.run("latent", {"kind": "latent_sgd", "lr": 0.1}, curves=[("bits_wrong", 10, 1.0, 0.5, 0)])
    assert worded(decided(made).reason) == (
        "0 of 1 mappings are exact, or not, as stated; bits wrong: state space on digits/mlp/latent"
    )


def test_nothing_was_replayed(made):
    made.run("latent", {"kind": "latent_sgd", "lr": 0.1})
    assert decided(made).decision == "not run"


def test_every_mapping_has_words():
    assert tuple(IN_WORDS) == MAPPINGS
