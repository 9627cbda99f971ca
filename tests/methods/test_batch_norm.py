"""Only the first pass at θ moves running statistics, whatever the method does after it."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.methods.batch_norm import frozen_statistics
from boundcheck.registry import build

BASE = {"kind": "sgd", "lr": 0.1}
VARIANTS = {
    "sam": {"kind": "sam", "base": BASE, "rho": 0.1},
    "gsam": {"kind": "gsam", "base": BASE, "rho": 0.1, "alpha": 0.2},
    "gradient_penalty": {"kind": "gradient_penalty", "base": BASE, "lam": 0.01, "radius": 0.1},
    "ascent_only": {"kind": "ascent_only", "base": BASE, "rho": 0.1},
    "exact": {"kind": "gam", "base": BASE, "rho": 0.1, "alpha": 0.2, "inner_steps": 2},
    "finite_difference": {
        "kind": "gam", "base": BASE, "rho": 0.1, "alpha": 0.2, "form": "finite_difference", "radius": 0.02,
        "oracle": "sam", "oracle_rho": 0.1,
    },
    "accelerated_released": {
        "kind": "gam", "base": BASE, "rho": 0.2, "alpha": 0.6, "form": "accelerated_released", "radius": 0.02,
        "beta": 0.5, "gamma": 0.03,
    },
}  # fmt: skip


@pytest.fixture
def convolutional() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5)]
    return nn.Sequential(*layers).train()


@pytest.mark.parametrize("name", VARIANTS)
def test_buffers_are_those_of_a_single_forward(name, convolutional):
    inputs, labels = torch.randn(8, 2, 8, 8), torch.arange(8) % 5
    once = copy.deepcopy(convolutional)
    once(inputs)
    method = build(METHODS, VARIANTS[name])
    optimizer = method.optimizer(convolutional)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(convolutional(inputs), labels)
        if not method.second_order:
            loss.backward()
        return loss

    optimizer.step(closure)
    for (key, buffer), expected in zip(convolutional.named_buffers(), once.buffers(), strict=True):
        assert torch.equal(buffer, expected), key
    assert convolutional[1].num_batches_tracked == 1
    assert all(layer.track_running_stats for layer in (convolutional[1], convolutional[5]))


def test_statistics_of_the_batch_are_still_used(convolutional):
    inputs = torch.randn(8, 2, 8, 8)
    expected = copy.deepcopy(convolutional)(inputs)
    with frozen_statistics(convolutional):
        assert torch.equal(convolutional(inputs), expected)


def test_layers_in_eval_mode_or_without_statistics_stay_as_they_are(convolutional):
    convolutional[1].eval()
    convolutional[5] = nn.BatchNorm1d(5, track_running_stats=False)
    inputs = torch.randn(8, 2, 8, 8)
    expected = convolutional(inputs)
    with frozen_statistics(convolutional):
        assert torch.equal(convolutional(inputs), expected)
    assert convolutional[1].track_running_stats
    assert not convolutional[5].track_running_stats


def test_tracking_returns_after_an_error(convolutional):
    with pytest.raises(RuntimeError, match="on purpose"), frozen_statistics(convolutional):
        raise RuntimeError("on purpose")
    assert convolutional[1].track_running_stats


def test_without_the_model_every_pass_counts(convolutional):
    from boundcheck.methods import SAM

    optimizer = SAM(torch.optim.SGD(convolutional.parameters(), lr=0.1), 0.1)
    optimizer.step(lambda: convolutional(torch.randn(8, 2, 8, 8)).square().sum().backward())
    assert convolutional[1].num_batches_tracked == 2
