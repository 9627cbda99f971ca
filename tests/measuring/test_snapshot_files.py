"""Only the weights that the training left, and all of them, are measured."""

import re
import shutil

import pytest

from boundcheck.manifests import ResultError
from boundcheck.measuring.measure import measure
from boundcheck.training.train import train

ANALYSES = [{"name": "gradient", "kind": "gradient_norm", "samples": 20}]


@pytest.fixture
def batch(spec_of, arrays, tmp_path):
    """A trained batch, and a function that measures it."""
    spec = spec_of(training={"epochs": 2}, snapshots=[0, 2])
    train(spec, arrays, tmp_path / "batch")

    def measured(**changes):
        folder = tmp_path / "batch"
        measure(
            {**spec, "analyses": ANALYSES, **changes}, arrays, folder / "snapshots", folder / "measurements.parquet"
        )

    return tmp_path / "batch", measured


def refused(measured, name, problem, output="snapshots", **changes):
    with pytest.raises(ResultError, match=rf"{name}: {problem}.*rm -rf \S*{re.escape(output)}, then"):
        measured(**changes)


def test_one_bit_of_a_weight(batch):
    folder, measured = batch
    file = folder / "snapshots" / "epoch_2.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
    refused(measured, "epoch_2.safetensors", "damaged")
    assert not (folder / "measurements.parquet").exists()


def test_a_snapshot_that_was_deleted(batch):
    folder, measured = batch
    (folder / "snapshots" / "epoch_2.safetensors").unlink()
    refused(measured, "epoch_2.safetensors", "does not exist")


def test_the_snapshot_of_another_epoch(batch):
    folder, measured = batch
    shutil.copy(folder / "snapshots" / "epoch_0.safetensors", folder / "snapshots" / "epoch_2.safetensors")
    refused(measured, "epoch_2.safetensors", "damaged")


def test_an_epoch_that_the_training_does_not_list(batch, reseal):
    """As if nothing were left of it, and no seed had diverged."""
    folder, measured = batch
    (folder / "snapshots" / "epoch_2.safetensors").unlink()
    reseal(folder / "provenance.json")
    refused(measured, "epoch_2.safetensors", "not listed in the provenance, although not every seed diverged before")


@pytest.mark.parametrize(("last_step", "is_measured"), [(7, True), (8, False)])
def test_an_epoch_after_all_seeds_diverged_is_left_out(batch, reseal, last_step, is_measured):
    """Two epochs have eight steps, of which the last is step 7."""
    folder, measured = batch
    (folder / "snapshots" / "epoch_2.safetensors").unlink()
    runs = [{"seed": seed, "status": "diverged", "step": step} for seed, step in enumerate((3, 5, last_step))]
    reseal(folder / "provenance.json", runs=runs)
    if is_measured:
        measured()
    else:
        refused(measured, "epoch_2.safetensors", "not listed in the provenance")


def test_weights_of_another_training(batch, spec_of, arrays, tmp_path):
    folder, measured = batch
    shutil.rmtree(folder)
    train(spec_of(training={"epochs": 2}, snapshots=[0, 2], seeds=[3, 4, 5]), arrays, folder)
    refused(measured, "provenance.json", "made from other settings")


def test_weights_trained_on_other_data(batch, reseal):
    folder, measured = batch
    reseal(folder / "provenance.json", inputs={"dataset": "0" * 64})
    refused(measured, "snapshots", "trained on other data than")
