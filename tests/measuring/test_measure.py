"""The measuring stage: every analysis on every snapshot of every seed that did not diverge."""

import json

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from boundcheck.data import view
from boundcheck.data.arrays import write_arrays
from boundcheck.data.normalise import Normaliser
from boundcheck.measuring.measure import measure
from boundcheck.training.train import train

ANALYSES = [{"name": "gradient", "kind": "gradient_norm", "samples": 100}]


def test_rows_for_every_snapshot_and_seed(spec_of, arrays, tmp_path):
    spec = spec_of(training={"batch_size": "full", "epochs": 3}, snapshots=[0, 3])
    train(spec, arrays, tmp_path)
    measure({**spec, "analyses": ANALYSES}, arrays, tmp_path / "snapshots", tmp_path / "m.parquet")
    rows = pd.read_parquet(tmp_path / "m.parquet")
    norms = rows[rows.quantity == "gradient_norm"].set_index(["seed", "step"]).value
    assert sorted(norms.index) == [(seed, step) for seed in (0, 1, 2) for step in (0, 3)]
    assert set(rows.analysis) == {"gradient"}
    curves = pd.read_parquet(tmp_path / "curves.parquet")
    recorded = curves[curves.quantity == "gradient_norm"].set_index(["seed", "step"]).value
    for seed in (0, 1, 2):  # the full batch is the subset that was measured
        assert abs(norms[(seed, 0)] / recorded[(seed, 0)] - 1) < 1e-10


def test_a_row_says_what_it_was_measured_with(spec_of, arrays, tmp_path):
    base = {"kind": "sgd", "lr": 0.1, "weight_decay": 0.01}
    spec = spec_of(snapshots=[3], method={"name": "sam", "kind": "sam", "rho": 0.05, "base": base}, seeds=[0])
    spec["training"]["label_smoothing"] = 0.1
    train(spec, arrays, tmp_path)
    measure({**spec, "analyses": ANALYSES}, arrays, tmp_path / "snapshots", tmp_path / "m.parquet")
    rows = pd.read_parquet(tmp_path / "m.parquet")
    told = [json.loads(text) for text in rows.settings.unique()]
    stated = {"samples": 100, "num_samples": 100, "batch_norm": "eval", "label_smoothing": 0.1, "weight_decay": 0.01}
    assert len(told) == 1
    assert stated.items() <= told[0].items()


def test_a_diverged_seed_is_left_out(spec_of, arrays, reseal, tmp_path):
    spec = spec_of(snapshots=[3])
    train(spec, arrays, tmp_path)
    path = tmp_path / "snapshots" / "epoch_3.safetensors"
    state = load_file(path)
    next(iter(state.values()))[1] = float("nan")
    save_file(state, path)
    reseal(tmp_path / "provenance.json")
    measure({**spec, "analyses": ANALYSES}, arrays, tmp_path / "snapshots", tmp_path / "m.parquet")
    assert set(pd.read_parquet(tmp_path / "m.parquet").seed) == {0, 2}


def test_of_data_too_large_for_floats_only_what_is_measured_is_converted(spec_of, seal_arrays, tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 1, 8, 8), generator=generator, dtype=torch.uint8).numpy()
    labels = torch.arange(60).numpy() % 10
    write_arrays(tmp_path / "data", (images, labels), (images[:20], labels[:20]), [str(c) for c in range(10)], "test")
    arrays = tmp_path / "data" / "arrays.safetensors"
    seal_arrays(arrays, {"kind": "digits"})
    spec = spec_of(seeds=[0], snapshots=[3], dataset={"name": "data", "kind": "digits"})
    train(spec, arrays, tmp_path)
    spec["analyses"] = [{"name": "gradient", "kind": "gradient_norm", "samples": 30}]
    measure(spec, arrays, tmp_path / "snapshots", tmp_path / "whole.parquet")
    monkeypatch.setattr(view, "MAX_FLOAT_BYTES", 0)
    converted = []
    monkeypatch.setattr(
        Normaliser,
        "__call__",
        lambda self, inputs, call=Normaliser.__call__: converted.append(len(inputs)) or call(self, inputs),
    )
    measure(spec, arrays, tmp_path / "snapshots", tmp_path / "part.parquet")
    whole, part = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "part"))
    pd.testing.assert_frame_equal(whole, part, rtol=1e-12)
    assert max(converted) <= 30


def test_measuring_twice_gives_the_same_numbers(spec_of, arrays, tmp_path):
    spec = spec_of(seeds=[0], snapshots=[3])
    train(spec, arrays, tmp_path)
    analyses = [{"name": "spectrum", "kind": "hessian_spectrum", "top_k": 2, "samples": 50}]
    for name in ("a", "b"):
        torch.rand(3)  # the global generator must not matter
        measure({**spec, "analyses": analyses}, arrays, tmp_path / "snapshots", tmp_path / f"{name}.parquet")
    a, b = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("a", "b"))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
