"""Residual networks against published sizes, their equations, and torchvision."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from boundcheck.models import ResNet

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


@pytest.mark.parametrize(("depth", "published"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_of_the_networks_for_cifar(depth, published, count):
    number = count(ResNet(depth), CIFAR, 10)
    digits = 1 if depth == 110 else 2
    assert round(number / 1e6, digits) == published  # He et al. 2016, table 6
    n = (depth - 2) // 6
    convolutions = 9 * (3 * 16 + (2 * n) * 16**2 + 16 * 32 + (2 * n - 1) * 32**2 + 32 * 64 + (2 * n - 1) * 64**2)
    assert number == convolutions + 2 * (16 + 2 * n * (16 + 32 + 64)) + 65 * 10


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_parameters_of_the_networks_for_imagenet(depth, parameters, count):
    assert count(ResNet(depth), IMAGENET, 1000) == parameters


def test_parameters_of_resnet18_for_cifar100(count):
    assert count(ResNet(18), CIFAR, 100) == 11_220_132
    assert count(ResNet(18, stem="cifar"), IMAGENET, 100) == 11_220_132
    assert count(ResNet(18, stem="imagenet"), CIFAR, 100) == 11_227_812


@pytest.mark.parametrize("training", [True, False])
def test_resnet8_is_that_of_the_equations(training, generator, randomize):
    network = randomize(ResNet(8, width=4).build((1, 10, 9), 3, generator)).train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def norm(x, name):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def block(x, name, stride):
        out = norm(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1").relu()
        out = norm(F.conv2d(out, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        out[:, : x.shape[1]] += x[:, :, ::stride, ::stride]
        return out.relu()

    inputs = torch.randn(3, 1, 10, 9, generator=generator, dtype=torch.float64)
    x = norm(F.conv2d(inputs, state["conv1.weight"], padding=1), "bn1").relu()
    for stage in (1, 2, 3):
        x = block(x, f"layer{stage}.0", 1 if stage == 1 else 2)
    expected = x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(inputs), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("depth", [18, 50])
def test_networks_for_imagenet_are_those_of_torchvision(depth, generator):
    torchvision = pytest.importorskip("torchvision")
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7)
    ours = ResNet(depth, stem="imagenet").build(IMAGENET, 7, generator)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=generator)
    torch.testing.assert_close(ours(images), theirs(images))
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_the_stem_follows_the_images():
    assert not hasattr(ResNet(18).architecture((3, 64, 64), 2), "maxpool")
    assert hasattr(ResNet(18).architecture((3, 65, 65), 2), "maxpool")
    assert hasattr(ResNet(18, stem="imagenet").architecture((3, 32, 32), 2), "maxpool")


def test_initial_values_are_those_of_he(generator):
    network = ResNet(18, width=32).build(CIFAR, 10, generator).requires_grad_(False)
    weight = network.layer3[1].conv1.weight  # (128, 128, 3, 3)
    assert weight.std() == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.01)
    assert network.layer3[0].downsample[0].weight.std() == pytest.approx(math.sqrt(2 / 128), rel=0.03)
    assert network.fc.weight.abs().max() <= 1 / math.sqrt(256)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        assert norm.weight.eq(1).all()
        assert norm.running_var.eq(1).all()
        assert not norm.bias.any()
        assert not norm.running_mean.any()


@pytest.mark.parametrize("depth", [8, 18, 50])
def test_zero_init_residual_starts_blocks_as_the_identity(depth, generator):
    network = ResNet(depth, width=4, zero_init_residual=True).build(CIFAR, 10, generator)
    x = torch.rand(2, 16 if depth == 50 else 4, 8, 8, generator=generator)
    block = network.layer1[1 if depth == 50 else 0]  # the first bottleneck changes the number of channels
    torch.testing.assert_close(block(x), x)
    norms = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    last = ".bn3" if depth == 50 else ".bn2"
    assert all(norm.weight.any() != name.endswith(last) for name, norm in norms)


def test_a_network_for_cifar_has_no_stem_of_imagenet():
    with pytest.raises(ValueError, match=r"^stem: got 'imagenet' with depth 20; allowed: cifar or null$"):
        ResNet(20, stem="imagenet")


@pytest.mark.parametrize("input_shape", [(784,), (28, 28), (1, 7, 32)])
def test_inputs_that_are_no_images_are_rejected(input_shape):
    with pytest.raises(ValueError, match=r"^input_shape: got .*; allowed: "):
        ResNet(8).architecture(input_shape, 10)
