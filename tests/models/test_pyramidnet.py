"""Pyramidal networks against published sizes and their equations."""

import pytest
import torch
import torch.nn.functional as F

from boundcheck.models import PyramidNet

CIFAR = (3, 32, 32)


@pytest.mark.parametrize(
    ("depth", "alpha", "bottleneck", "millions", "features"),
    [
        (164, 48, True, 1.7, 256),
        (164, 84, True, 3.8, 400),
        (164, 270, True, 27.0, 1144),
        (200, 240, True, 26.6, 1024),
        (236, 220, True, 26.8, 944),
        (272, 200, True, 26.0, 864),
        (110, 48, False, 1.7, 64),
        (110, 84, False, 3.8, 100),
        (110, 270, False, 28.3, 286),
    ],
)
def test_sizes_are_close_to_those_published(depth, alpha, bottleneck, millions, features):
    network = PyramidNet(depth, alpha, bottleneck).architecture(CIFAR, 10)
    assert network.fc.in_features == features
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.25)


def test_sizes_are_exact(count):
    assert count(PyramidNet(110, 270), CIFAR, 10) == 18_323_787
    assert count(PyramidNet(110, 270), CIFAR, 100) == 18_426_837
    assert count(PyramidNet(110, 48, bottleneck=False), CIFAR, 10) == 1_772_706


def test_widths_grow_by_the_same_step():
    assert PyramidNet(11, 12).widths == [16, 20, 24, 28]
    assert PyramidNet(14, 3, bottleneck=False).widths == [16, 16, 17, 18, 18, 18, 19]  # ties to the even number


@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("alpha", [0, 12])
def test_the_network_is_that_of_the_equations(bottleneck, alpha, generator, randomize):
    model = PyramidNet(11 if bottleneck else 8, alpha, bottleneck)
    network = randomize(model.build((2, 9, 10), 3, generator)).eval()
    state = network.state_dict()

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (state[f"{name}.{key}"][:, None, None] for key in keys)
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def convolve(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    inputs = torch.randn(3, 2, 9, 10, generator=generator, dtype=torch.float64)
    x = norm(convolve(inputs, "conv1"), "bn1")
    for stage in (1, 2, 3):
        name, stride = f"layer{stage}.0.residual", 1 if stage == 1 else 2
        out = convolve(norm(x, f"{name}.0"), f"{name}.1", 1 if bottleneck else stride)
        out = convolve(norm(out, f"{name}.2").relu(), f"{name}.4", stride if bottleneck else 1)
        if bottleneck:
            out = convolve(norm(out, f"{name}.5").relu(), f"{name}.7")
        out = norm(out, f"{name}.{8 if bottleneck else 5}")
        out[:, : x.shape[1]] += x if stage == 1 else F.avg_pool2d(x, 2, ceil_mode=True)
        x = out
    expected = norm(x, "bn_final").relu().mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(inputs), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("settings", [{"depth": 2}, {"depth": 21}])
def test_settings_without_meaning_are_rejected(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: got .*; allowed: "):
        PyramidNet(**{"depth": 11, "alpha": 12} | settings)


def test_depths_depend_on_the_bottleneck():
    PyramidNet(20, 12)
    PyramidNet(14, 12, bottleneck=False)
    with pytest.raises(ValueError, match="9n"):
        PyramidNet(14, 12)
