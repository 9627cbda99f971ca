"""Wide residual networks against published sizes and their equations."""

import pytest
import torch
import torch.nn.functional as F

from boundcheck.models import WideResNet


@pytest.mark.parametrize(
    ("depth", "widen", "parameters"),
    [(28, 10, 36_479_194), (28, 2, 1_467_610), (16, 8, 10_961_370), (40, 4, 8_949_210)],
)
def test_number_of_parameters(depth, widen, parameters, count):
    assert count(WideResNet(depth, widen), (3, 32, 32), 10) == parameters


@pytest.mark.parametrize("widen", [1, 3])
def test_wrn10_is_that_of_the_equations(widen, generator, randomize):
    network = randomize(WideResNet(10, widen, base_width=4).build((2, 9, 10), 3, generator)).eval()
    state = network.state_dict()

    def activate(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (state[f"{name}.{key}"][:, None, None] for key in keys)
        return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).relu()

    inputs = torch.randn(3, 2, 9, 10, generator=generator, dtype=torch.float64)
    x = F.conv2d(inputs, state["conv1.weight"], padding=1)
    for stage in (1, 2, 3):
        name, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        a = activate(x, f"{name}.bn1")
        out = F.conv2d(a, state[f"{name}.conv1.weight"], stride=stride, padding=1)
        out = F.conv2d(activate(out, f"{name}.bn2"), state[f"{name}.conv2.weight"], padding=1)
        changes = stride == 2 or widen > 1
        x = out + (F.conv2d(a, state[f"{name}.shortcut.weight"], stride=stride) if changes else x)
    expected = activate(x, "bn").mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(inputs), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("settings", [{"depth": 4}, {"depth": 27}])
def test_settings_without_meaning_are_rejected(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: got .*; allowed: "):
        WideResNet(**{"depth": 10, "widen": 1} | settings)
