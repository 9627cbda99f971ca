"""A rescaled ReLU network is the same function at another flatness."""

import pytest
import torch

from boundcheck.analyses.rescaling import Rescaling, rescale
from boundcheck.contracts import Snapshot
from boundcheck.models import MODELS
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings

RELU = {"kind": "mlp", "depth": 2, "width": 4, "activation": "relu"}


def network(**changes):
    net = build(MODELS, RELU | changes).build((1, 4, 4), 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05)
    return net


def at(rows, quantity, scale):
    (row,) = [row for row in rows if row.quantity == quantity and row.coordinate == scale]
    return row.value


def test_the_function_stays_and_the_flatness_moves(objective, train, generator):
    analysis = Rescaling(scales=[10.0], samples=20, iterations=5)
    rows = analysis.measure(Snapshot(network(), objective, train, train, generator, TrainingSettings()))
    assert at(rows, "rescaled_output_change", 10.0) < 1e-5  # float32 outputs
    assert at(rows, "rescaled_output_change", 1.0) == 0
    assert at(rows, "rescaled_flatness_ratio", 10.0) > 2
    assert at(rows, "rescaled_sharpness_ratio", 10.0) > 2
    ratio = at(rows, "rescaled_first_order_flatness", 10.0) / at(rows, "rescaled_first_order_flatness", 1.0)
    assert at(rows, "rescaled_flatness_ratio", 10.0) == pytest.approx(ratio)


def test_rescaling_touches_two_layers_of_a_copy():
    net = network()
    before = [parameter.clone() for parameter in net.parameters()]
    changed = [
        (new / old).mean().item() for new, old in zip(rescale(net, 4.0).parameters(), net.parameters(), strict=True)
    ]
    assert changed == pytest.approx([4, 4, 0.25, 1, 1, 1])
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def test_other_networks_have_no_rows(objective, train, generator, mlp):
    for net in (network(activation="tanh"), network(depth=0), mlp):
        assert (
            Rescaling(samples=20).measure(Snapshot(net, objective, train, train, generator, TrainingSettings())) == []
        )
