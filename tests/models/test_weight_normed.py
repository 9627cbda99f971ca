"""Weight normalisation on top of other networks."""

import pytest
import torch
from torch import nn

from boundcheck.models import MLP, ResNet, WeightNormed
from boundcheck.models.weight_normed import weight_normalise

BASE = {"kind": "resnet", "depth": 8, "width": 4}


def test_the_function_is_that_of_the_base():
    x = torch.randn(3, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    base = ResNet(depth=8, width=4).build((1, 14, 14), 5, torch.Generator().manual_seed(1))
    network = WeightNormed(base=BASE).build((1, 14, 14), 5, torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(x), base(x), rtol=1e-5, atol=1e-6)


def test_every_layer_but_the_last_is_normalised():
    network = WeightNormed(base={"kind": "mlp", "depth": 2, "width": 4}).build((6,), 5, torch.Generator())
    names = {name for name, _ in network.named_parameters() if "weight" in name}
    original = "parametrizations.weight.original"
    assert names == {*(f"layers.{i}.{original}{j}" for i in (0, 1) for j in (0, 1)), "layers.2.weight"}
    whole = WeightNormed(base=BASE, keep_last=False).build((1, 8, 8), 5, torch.Generator())
    layers = [m for m in whole.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert all(hasattr(layer, "parametrizations") for layer in layers)


def test_gradients_are_orthogonal_to_the_rows():
    network = weight_normalise(MLP(depth=2, width=4).build((6,), 5, torch.Generator().manual_seed(0)).double())
    network(torch.randn(3, 6, dtype=torch.float64)).square().sum().backward()
    for name, p in network.named_parameters():
        if name.endswith("original1"):
            assert (p * p.grad).sum(1).abs().max() < 1e-14
            assert p.grad.abs().max() > 1e-6


def test_refuses_what_has_no_layer_to_normalise():
    with pytest.raises(ValueError, match="network: got 0 linear or convolutional layers"):
        weight_normalise(nn.Tanh())
    with pytest.raises(ValueError, match="network: got 1 linear or convolutional layers"):
        weight_normalise(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="base: depth: got 9"):
        WeightNormed(base={"kind": "resnet", "depth": 9})
