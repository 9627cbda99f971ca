"""The training stage: what it writes, that seeds do not disturb each other, that it resumes to the same bits."""

import contextlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from boundcheck.cells.cell import Cell
from boundcheck.cells.inputs import data_digests
from boundcheck.cells.machine import machine
from boundcheck.cells.resolved import resolved_settings
from boundcheck.data.arrays import write_arrays
from boundcheck.training import train as training_stage
from boundcheck.training.layout import layout_for
from boundcheck.training.provenance import Job
from boundcheck.training.resumable import TrainingInterrupted, run
from boundcheck.training.train import _identity, train

BASE = {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
ACCELERATED = {"rho": 0.2, "radius": 0.02, "alpha": 0.5, "beta": 0.5, "gamma": 0.05, "base": BASE}
METHODS = {
    "sgd": BASE,
    "adamw": {"kind": "adamw", "lr": 0.01},
    "sam": {"kind": "sam", "rho": 0.05, "base": BASE},
    "gam_exact": {"kind": "gam", "form": "exact", "rho": 0.1, "alpha": 0.3, "base": BASE},
    "gam_fd": {"kind": "gam", "form": "finite_difference", "rho": 0.1, "radius": 0.02, "alpha": 0.3, "base": BASE},
    "gam_paper": {"kind": "gam", "form": "accelerated_paper", **ACCELERATED},
    "gam_released": {"kind": "gam", "form": "accelerated_released", "rho_min": 0.1, "rho_warmup": 3, **ACCELERATED},
}
RESNET = {"name": "net", "kind": "resnet", "depth": 8, "width": 2}


def curves_of(folder):
    keys = ["quantity", "seed", "step", "index"]
    return pd.read_parquet(folder / "curves.parquet").set_index(keys)["value"].sort_index()


def weights_of(folder, epoch=3):
    return load_file(folder / "snapshots" / f"epoch_{epoch}.safetensors")


def test_what_a_batch_leaves(spec_of, arrays, tmp_path):
    train(spec_of(), arrays, tmp_path / "out", code="abc")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "curves.parquet",
        "provenance.json",
        "snapshots",
    ]
    curves = curves_of(tmp_path / "out")
    assert len(curves["train_loss"]) == 3 * 3 * 4  # seeds x epochs x batches
    assert len(curves["test_accuracy"]) == 3 * 4  # seeds x epochs and the start
    full_loss = curves["full_train_loss"].groupby("seed")
    assert (full_loss.last() < full_loss.first() - 0.3).all()
    weights = weights_of(tmp_path / "out")
    assert {value.shape[0] for value in weights.values()} == {3}
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["spec"] == spec_of()
    assert provenance["resolved"] == resolved_settings(spec_of())
    assert provenance["code"] == "abc"
    assert [run["status"] for run in provenance["runs"]] == ["done"] * 3
    assert provenance["num_parameters"] == 64 * 6 + 6 + 60 + 10


@pytest.mark.parametrize("method", METHODS)
def test_a_stack_of_seeds_equals_single_runs(spec_of, arrays, tmp_path, method):
    variant = {"name": "m", **METHODS[method]}
    train(spec_of(method=variant), arrays, tmp_path / "stack")
    train(spec_of(method=variant, seeds=[1]), arrays, tmp_path / "single")
    stack, single = weights_of(tmp_path / "stack"), weights_of(tmp_path / "single")
    for name in single:
        torch.testing.assert_close(stack[name][1], single[name][0], rtol=1e-12, atol=1e-12)
    joined = curves_of(tmp_path / "stack").xs(1, level="seed")
    pd.testing.assert_series_equal(joined, curves_of(tmp_path / "single").xs(1, level="seed"), rtol=1e-11, atol=1e-12)


def test_equal_seeds_start_and_shuffle_alike_for_all_methods(spec_of, arrays, tmp_path):
    for method in ("sgd", "gam_exact", "sam"):
        train(spec_of(method={"name": "m", **METHODS[method]}), arrays, tmp_path / method)
    curves = {method: curves_of(tmp_path / method)["train_loss"] for method in ("sgd", "gam_exact", "sam")}
    first = {method: curve.xs(0, level="step") for method, curve in curves.items()}
    pd.testing.assert_series_equal(first["sgd"], first["gam_exact"], rtol=1e-14)
    pd.testing.assert_series_equal(first["sgd"], first["sam"], rtol=1e-14)
    assert not curves["sgd"].equals(curves["sam"])


@pytest.mark.parametrize("stop_after", [1, 4, 7])
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_resumes_to_the_same_bits(spec_of, loop_of, tmp_path, method, stop_after):
    spec = spec_of(method={"name": "m", **METHODS[method]}, seeds=[0], training={"augment": {"crop": 1, "flip": True}})

    def run_until(folder, stops):
        asked = iter(range(1000))
        loop = loop_of(spec)
        run(loop, folder, "id", lambda: next(asked) + 1 in stops, every_seconds=1e9)
        return loop

    whole = run_until(tmp_path / "whole", ())
    with pytest.raises(TrainingInterrupted, match="the same command resumes"):
        run_until(tmp_path / "cut", (stop_after,))
    resumed = run_until(tmp_path / "cut", ())
    for name, value in whole.model.state_dict().items():
        assert value.equal(resumed.model.state_dict()[name]), name
    assert whole.curve.columns([None]).keys() == resumed.curve.columns([None]).keys()
    pd.testing.assert_frame_equal(
        pd.DataFrame(whole.curve.columns([None])), pd.DataFrame(resumed.curve.columns([None])), check_exact=True
    )


def test_networks_that_are_not_stacked_train_one_after_another(spec_of, arrays, tmp_path):
    spec = spec_of(model=RESNET, seeds=[0, 1], training={"epochs": 1, "precision": "float32"}, snapshots=[0, 1])
    train(spec, arrays, tmp_path / "both")
    train({**spec, "seeds": [1]}, arrays, tmp_path / "one")
    both, one = weights_of(tmp_path / "both", 1), weights_of(tmp_path / "one", 1)
    assert all(both[name][1].equal(one[name][0]) for name in one)
    assert json.loads((tmp_path / "both" / "provenance.json").read_text())["seeds_at_once"] == 1


def test_batch_norm_counts_the_first_pass_only(spec_of, arrays, tmp_path):
    method = {"name": "m", **METHODS["gam_released"]}
    spec = spec_of(
        model=RESNET, method=method, seeds=[0], training={"epochs": 1, "precision": "float32"}, snapshots=[1]
    )
    train(spec, arrays, tmp_path)
    counts = [value for name, value in weights_of(tmp_path, 1).items() if name.endswith("num_batches_tracked")]
    assert counts
    assert {int(count) for count in counts} == {4}


def test_a_diverging_seed_is_a_result_and_the_others_go_on(spec_of, arrays, tmp_path):
    train(spec_of(), arrays, tmp_path / "free")
    free = curves_of(tmp_path / "free")["train_loss"]
    worst = free.groupby("seed").max().sort_values()
    limit = worst.iloc[-2:].mean()  # one seed goes beyond it, two do not
    train(spec_of(training={"max_loss": limit}), arrays, tmp_path / "limit")
    runs = {run["seed"]: run for run in json.loads((tmp_path / "limit" / "provenance.json").read_text())["runs"]}
    diverged, beyond = worst.index[-1], free.xs(worst.index[-1], level="seed")
    step = beyond[beyond > limit].index.get_level_values("step").min()
    assert runs[diverged]["status"] == "diverged"
    assert runs[diverged]["step"] == step
    assert f"at step {step}" in runs[diverged]["reason"]
    limited = curves_of(tmp_path / "limit")["train_loss"]
    assert limited.xs(diverged, level="seed").index.get_level_values("step").max() == step
    for seed in worst.index[:-1]:
        assert runs[seed]["status"] == "done"
        pd.testing.assert_series_equal(limited.xs(seed, level="seed"), free.xs(seed, level="seed"), check_exact=True)


def test_a_run_that_blows_up_ends_early_and_is_recorded(spec_of, arrays, tmp_path):
    method = {"name": "m", "kind": "sgd", "lr": 1e200}
    train(spec_of(method=method, training={"epochs": 100}, snapshots=[0, 100]), arrays, tmp_path)
    runs = json.loads((tmp_path / "provenance.json").read_text())["runs"]
    assert {run["status"] for run in runs} == {"diverged"}
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["epoch_0.safetensors"]
    assert len(curves_of(tmp_path)["train_loss"]) < 3 * 100


def test_snapshots_of_a_run_that_is_not_resumed_are_not_taken(spec_of, arrays, tmp_path):
    train(spec_of(), arrays, tmp_path / "other")
    left = tmp_path / "new" / "checkpoint" / "part_0"
    left.mkdir(parents=True)
    shutil.copy(tmp_path / "other/snapshots/epoch_3.safetensors", left / "epoch_100.safetensors")
    method = {"name": "m", "kind": "sgd", "lr": 1e200}
    train(spec_of(method=method, training={"epochs": 100}, snapshots=[0, 100]), arrays, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new/snapshots").iterdir()] == ["epoch_0.safetensors"]


def test_a_state_on_other_data_is_of_another_job(spec_of, seal_arrays, tmp_path):
    images, labels = np.zeros((20, 1, 2, 2), np.uint8), np.arange(20) % 2
    digests = []
    for value in (0, 1):
        write_arrays(tmp_path / str(value), (images + value, labels), (images, labels), ["a", "b"], "test")
        seal_arrays(tmp_path / str(value) / "arrays.safetensors", {"kind": "digits"})
        digests.append(data_digests(spec_of(), tmp_path / str(value) / "arrays.safetensors"))
    first, second = (_identity(Job(spec_of(), "code", {}, 1, inputs), torch.device("cpu")) for inputs in digests)
    assert {key for key in first if first[key] != second[key]} == {"data"}


def test_a_state_of_another_instruction_set_is_set_aside(spec_of, arrays, tmp_path, monkeypatch, capsys):
    """A training never goes on with other arithmetic than that of its first step."""
    spec, asked = spec_of(seeds=[0]), []

    @contextlib.contextmanager
    def after_four_steps():
        yield lambda: len(asked) == 4 or asked.append(0)

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(training_stage, "stop_requests", after_four_steps)
        elsewhere.setattr(training_stage, "machine", lambda: {**machine(), "instruction_set": "OTHER"})
        with pytest.raises(TrainingInterrupted):
            train(spec, arrays, tmp_path / "cut")
    train(spec, arrays, tmp_path / "cut")
    assert "the checkpoint of another job: instruction_set was OTHER, is " in capsys.readouterr().out
    train(spec, arrays, tmp_path / "whole")
    for name in ("curves.parquet", "snapshots/epoch_3.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_no_epochs_is_a_snapshot_of_the_start(spec_of, arrays, tmp_path):
    train(spec_of(training={"epochs": 0}, snapshots=[0]), arrays, tmp_path)
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["epoch_0.safetensors"]


def test_full_batches_make_one_step_an_epoch(spec_of, arrays, tmp_path):
    train(spec_of(training={"batch_size": "full", "epochs": 5}, snapshots=[5]), arrays, tmp_path)
    losses = curves_of(tmp_path)["train_loss"].xs(0, level="seed")
    assert list(losses.index.get_level_values("step")) == [0, 1, 2, 3, 4]
    full = curves_of(tmp_path)["full_train_loss"].xs(0, level="seed")
    assert losses.to_numpy() == pytest.approx(full.to_numpy()[:5], rel=1e-12)


def test_the_first_step_is_the_gradient_of_the_batch(spec_of, arrays, tmp_path):
    """The recorded gradient norm against one computed from the snapshot and the data by hand."""
    spec = spec_of(
        method={"name": "m", "kind": "sgd", "lr": 0.5},
        seeds=[2],
        training={"batch_size": "full", "epochs": 1},
        snapshots=[0, 1],
    )
    train(spec, arrays, tmp_path)
    start, end = weights_of(tmp_path, 0), weights_of(tmp_path, 1)
    norm = torch.cat([((start[name] - end[name]) / 0.5).flatten() for name in start]).norm()
    assert curves_of(tmp_path)["gradient_norm"].item() == pytest.approx(norm.item(), rel=1e-10)


def test_bfloat16_keeps_its_weights_in_float32(spec_of, arrays, tmp_path):
    train(spec_of(training={"precision": "bfloat16", "epochs": 1}, snapshots=[1]), arrays, tmp_path)
    assert {value.dtype for value in weights_of(tmp_path, 1).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("method", "side", "wanted", "expected"),
    [
        ("sgd", 28, "auto", True),
        ("sgd", 8, "auto", False),
        ("gam_exact", 28, "auto", False),
        ("gam_released", 28, "auto", True),
        ("sgd", 8, True, True),
        ("sgd", 28, False, False),
    ],
)
def test_channels_last_where_it_pays(spec_of, method, side, wanted, expected):
    method = {"name": "m", **METHODS[method]}
    spec = spec_of(model=RESNET, method=method, training={"channels_last": wanted, "precision": "float32"})
    cell, shape = Cell.from_spec(spec), (1, side, side)
    network = cell.model.build(shape, 10, torch.Generator())
    assert layout_for(network, cell.method, cell.training, shape, torch.device("cpu")).channels_last is expected
    weight = next(p for p in network.parameters() if p.dim() == 4 and p.shape[1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last) is expected
