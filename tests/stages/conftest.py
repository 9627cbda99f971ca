"""A small real cell: scikit-learn's digits, a network of a few hundred parameters."""

import copy

import pytest

from boundcheck.grid import DEFAULT_TRAINING

SPEC = {
    "dataset": {"name": "digits", "kind": "digits", "train_size": 100, "test_size": 50},
    "model": {"name": "mlp", "kind": "mlp", "depth": 1, "width": 6, "activation": "tanh"},
    "method": {"name": "sgd", "kind": "sgd", "lr": 0.1, "momentum": 0.9},
    "seeds": [0, 1, 2],
    "training": {**DEFAULT_TRAINING, "epochs": 3, "batch_size": 30, "lr_schedule": "cosine", "precision": "float64"},
    "snapshots": [0, 3],
    "record": ["loss", "accuracy", "gradient_norm"],
}


@pytest.fixture(scope="session")
def arrays(tmp_path_factory):
    from boundcheck.stages.fetch import fetch

    path = tmp_path_factory.mktemp("data") / "digits" / "arrays.safetensors"
    fetch({"kind": "digits"}, path)
    return path


@pytest.fixture
def spec_of():
    def spec_of(**changes):
        spec = copy.deepcopy(SPEC)
        for key, value in changes.items():
            spec[key] = {**spec[key], **value} if isinstance(value, dict) and key == "training" else value
        return spec

    return spec_of
