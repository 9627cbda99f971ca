"""What a cell's spec stands for."""

import pytest
import torch

from boundcheck.cells.cell import Cell
from boundcheck.cells.networks import build_network, num_outputs
from boundcheck.contracts import Split, Splits
from boundcheck.data.view import View
from boundcheck.objectives import accuracy, build_objective


def splits(num_classes):
    labels = torch.arange(20) % num_classes
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    part = Split(x, labels)
    return Splits(part, part, (6,), num_classes, torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize(
    ("loss", "num_classes", "expected"),
    [("square", 2, 1), ("square", 3, 3), ("cross_entropy", 2, 2), ("reconstruction", 3, 6)],
)
def test_two_classes_under_the_square_loss_have_one_output(loss, num_classes, expected):
    assert num_outputs(loss, splits(num_classes)) == expected


def test_one_output_learns_the_sign_of_its_class():
    seen = View(normalise="none", positive=[1, 3]).apply(splits(4), "cpu", torch.float32)
    spec = {
        "dataset": {"name": "d", "kind": "digits", "positive": [1, 3]},
        "model": {"name": "m", "kind": "weight_norm_mlp", "depth": 1, "width": 32},
        "method": {"name": "gd", "kind": "sgd", "lr": 1.0},
        "training": {"loss": "square"},
        "seeds": [0],
        "snapshots": [],
        "record": [],
    }
    cell = Cell.from_spec(spec)
    network, objective = build_network(cell, seen, 0), build_objective(cell.training)
    assert network(seen.train.inputs).shape == (20, 1)
    target = torch.where(torch.isin(seen.train.labels, torch.tensor([1])), 1.0, -1.0)
    expected = (network(seen.train.inputs)[:, 0] - target).square().mean()
    torch.testing.assert_close(objective.losses(network(seen.train.inputs), seen.train.labels), expected)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        objective.losses(network(seen.train.inputs), seen.train.labels).backward()
        optimizer.step()
    assert accuracy(network(seen.train.inputs), seen.train.labels) == 1
