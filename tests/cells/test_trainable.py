"""Sizes that cannot be trained are told before the first step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from boundcheck.analyses import ANALYSES
from boundcheck.cells.cell import Cell
from boundcheck.cells.resolved import settings_of
from boundcheck.cells.trainable import batch_problem, has_lone_example, refuse_unmeasurable, refuse_untrainable, remarks
from boundcheck.contracts import Split, Splits
from boundcheck.data.errors import DataError
from boundcheck.models import MODELS
from boundcheck.registry import build

BINARY = {"kind": "binary_mlp", "depth": 1, "width": 4}
SHAPE = (1, 8, 8)


def cell(model=BINARY, **training):
    return Cell.from_spec(
        {
            "dataset": {"name": "mine", "kind": "image_folder", "path": "x"},
            "model": {"name": "net", **model},
            "method": {"name": "sgd", "kind": "sgd", "lr": 0.1},
            "seeds": [0, 1],
            "training": training,
            "snapshots": [],
            "record": [],
        }
    )


def splits(num_train, num_classes=2, num_seen=2):
    part = Split(torch.zeros(num_train, *SHAPE), torch.arange(num_train) % num_seen)
    return Splits(part, part, SHAPE, num_classes, torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize(
    ("num_train", "batch_size", "lone"),
    [
        (1, 64, True),
        (1, "full", True),
        (2, "full", False),
        (129, 64, True),
        (128, 64, False),
        (130, 64, False),
        (5, 1, True),
    ],
)
def test_a_batch_of_one_is_found(num_train, batch_size, lone):
    assert has_lone_example(num_train, batch_size) == lone
    state = torch.get_rng_state()
    problem = batch_problem(build(MODELS, BINARY).architecture(SHAPE, 2), SHAPE, num_train, batch_size)
    assert torch.equal(torch.get_rng_state(), state)
    assert (problem is not None) == lone
    if lone:
        assert problem.startswith(f"batch_size {batch_size} and {num_train} training examples make a batch of 1, ")


@pytest.mark.parametrize(
    ("model", "fails"),
    [
        (BINARY, True),
        ({"kind": "birealnet", "depth": 18}, True),
        ({"kind": "reactnet"}, True),
        ({"kind": "mlp", "depth": 1, "width": 4}, False),
        ({"kind": "resnet", "depth": 8}, False),  # four pixels of each channel are left at its last normalisation
        ({"kind": "vit", "size": "ti", "patch": 4}, False),
    ],
)
def test_only_networks_that_normalise_single_numbers_mind(model, fails):
    network = build(MODELS, model).architecture(SHAPE, 2)
    assert (batch_problem(network, SHAPE, 9, 4) is not None) == fails
    if not fails:
        network = build(MODELS, model).build(SHAPE, 2, torch.Generator().manual_seed(0))
        assert network.train()(torch.ones(1, *SHAPE)).shape == (1, 2)


def test_the_job_names_dataset_sizes_and_remedy():
    message = (
        "mine/net/sgd: dataset mine: batch_size 4 and 9 training examples make a batch of 1, and the network's batch "
        "normalisation needs 2 or more; set a batch_size or train_size without such a remainder"
    )
    with pytest.raises(DataError) as caught:
        refuse_untrainable(cell(batch_size=4), splits(9))
    assert str(caught.value) == message
    refuse_untrainable(cell(batch_size=4), splits(8))


def test_one_class_teaches_nothing_but_to_reconstruct():
    with pytest.raises(DataError, match="all 8 training examples are of class 0; take examples of two classes"):
        refuse_untrainable(cell(), splits(8, num_seen=1))
    autoencoder = {"kind": "autoencoder", "code": 2, "widths": [3], "skips": "none"}
    refuse_untrainable(cell(autoencoder, loss="reconstruction"), splits(8, num_seen=1))


def test_remarks():
    assert list(remarks(cell(batch_size=8), splits(8))) == []
    assert list(remarks(cell(batch_size="full"), splits(8))) == []
    assert list(remarks(cell(batch_size=9), splits(8, num_classes=4))) == [
        "batch_size 9 is more than the 8 training examples: every step uses all of them",
        "classes without training examples: 2, 3",
    ]


def test_batch_statistics_of_one_example_are_not_measured():
    spectrum = {"name": "s", "kind": "hessian_spectrum", "batch_norm": "train", "samples": 1}
    measured = replace(cell(), analyses={"s": build(ANALYSES, settings_of(spectrum))})
    with pytest.raises(DataError, match="analysis s: batch_norm: its samples make a batch of 1"):
        refuse_unmeasurable(measured, splits(20))
    refuse_unmeasurable(replace(measured, model=build(MODELS, {"kind": "mlp", "depth": 1, "width": 4})), splits(20))
