"""Which runs a law of weight-normalised networks is about."""

import pandas as pd

from boundcheck.claims.weight_norm.runs import (
    follows_gradient,
    follows_past_gradients,
    is_full_batch,
    normalises_rows,
    of_runs,
)

RULES = [normalises_rows, follows_gradient, follows_past_gradients, is_full_batch]


def run(seed, **settings):
    """A row of the run table."""
    cell = {"dataset": "digits", "model": "mlp", "method": "sgd", "dataset_spec": {}, "record": [], "roles": ["main"]}
    return {**cell, "seed": seed, "status": "done", **settings}


def test_nothing_is_true_of_a_missing_run():
    specs = {
        "model_spec": {"kind": "weight_norm_mlp", "depth": 2, "width": 4},
        "method_spec": {"kind": "sgd", "lr": 1.0},
    }
    there = run(0, **specs, training={"batch_size": "full"})
    missing = {name: {} for name in ("model_spec", "method_spec", "training")} | {"status": "missing"}
    runs = pd.DataFrame([there, run(1, **missing)])
    for rule in RULES:
        assert of_runs(runs, runs, rule).tolist() == [True, False], rule
    assert of_runs(runs.iloc[[1, 0]], runs, *RULES).tolist() == [False, True]
