from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from boundcheck.data import statistics
from boundcheck.data.statistics import blocks, channel_statistics, unit_scale


def reference(channel, scale):
    """Mean and variance of whole numbers, in rational arithmetic."""
    values = [Fraction(int(value), scale) for value in channel]
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


def test_images_are_summed_exactly():
    images = torch.randint(0, 256, (7, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = channel_statistics(blocks(images), 3, 255)
    for channel in range(3):
        expected_mean, expected_variance = reference(images[:, channel].flatten(), 255)
        assert mean[channel].item() == float(expected_mean)
        assert std[channel].item() == float(expected_variance) ** 0.5


@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
def test_blocks_leave_no_trace(monkeypatch, block):
    images = torch.randint(0, 256, (50, 2, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    whole = channel_statistics([images], 2, 255)
    monkeypatch.setattr(statistics, "BLOCK_ELEMENTS", block)
    assert torch.cat(list(blocks(images))).equal(images)
    assert all(a.equal(b) for a, b in zip(channel_statistics(blocks(images), 2, 255), whole, strict=True))


def test_a_constant_channel_has_no_spread():
    mean, std = channel_statistics([torch.full((4, 1, 3, 3), 77, dtype=torch.uint8)], 1, 255)
    assert mean.item() == 77 / 255
    assert std.item() == 0


def test_floats_agree_with_torch():
    inputs = torch.randn(400, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 5
    mean, std = channel_statistics(blocks(inputs), 3)
    assert torch.allclose(mean, inputs.mean((0, 2)), rtol=1e-14)
    assert torch.allclose(std, inputs.std((0, 2), correction=0), rtol=1e-13)


def test_unit_scale():
    assert unit_scale(torch.zeros(1, dtype=torch.uint8)) == 255
    assert unit_scale(torch.zeros(1)) == 1
