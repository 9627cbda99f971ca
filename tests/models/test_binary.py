"""Binary layers against their derivatives written out; counts of binary weights; initial values."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from boundcheck.models import MODELS
from boundcheck.models.binary_layers import (
    BinaryActivation,
    BinaryConv2d,
    BinaryLinear,
    binary_layers,
    binary_parameters,
    real_parameters,
    sign,
)
from boundcheck.models.binary_mlp import StackableBatchNorm
from boundcheck.models.stacking import stack
from boundcheck.registry import build


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_sign_of_zero_is_plus_one():
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-45, -1e-45, 3.0])
    assert sign(x).tolist() == [-1, 1, 1, 1, -1, 1]
    assert sign(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [("identity", [1, 1, 1, 1, 1]), ("clipped", [0, 1, 1, 1, 0]), ("bireal", [0, 1.0, 2.0, 0.5, 0])],
)
def test_activation_gradient(gradient, expected):
    x = torch.tensor([-1.5, -0.5, 0.0, 0.75, 1.0], requires_grad=True)
    out = BinaryActivation(gradient)(x)
    assert out.tolist() == [-1, -1, 1, 1, 1]
    out.backward(torch.ones(5))
    assert x.grad.tolist() == expected


def reference(weight, scaling, weight_gradient):
    """(value, factor on the gradient) of a latent weight (out, ...), written out."""
    s = weight.detach().abs().flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1))
    if scaling == "form_1_dyadic":
        s = 2 ** s.log2().ceil()
    value = torch.sign(weight.detach()) * (1 if scaling == "none" else s)
    factor = s.expand_as(weight) if scaling.startswith("form_1") else torch.ones_like(weight)
    return value, factor * ((weight.detach().abs() <= 1) if weight_gradient == "clipped" else 1)


@pytest.mark.parametrize("weight_gradient", ["identity", "clipped"])
@pytest.mark.parametrize("scaling", ["none", "form_1", "form_1_dyadic", "form_2"])
@pytest.mark.parametrize("is_convolution", [False, True])
def test_layers_are_their_definition(scaling, weight_gradient, is_convolution):
    if is_convolution:
        layer, x = BinaryConv2d(3, 5, 3, 2, weight_gradient, scaling).double(), torch.randn(2, 3, 7, 7).double()
    else:
        layer, x = BinaryLinear(6, 5, weight_gradient, scaling).double(), torch.randn(4, 6).double()
    with torch.no_grad():
        layer.weight.mul_(8)  # some beyond 1
    value, factor = reference(layer.weight, scaling, weight_gradient)
    value.requires_grad_()
    expected = F.conv2d(x, value, None, 2, 1) if is_convolution else x @ value.T
    direction = torch.randn_like(expected)
    expected.backward(direction)
    out = layer(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    out.backward(direction)
    torch.testing.assert_close(layer.weight.grad, factor * value.grad, rtol=0, atol=1e-13)
    if weight_gradient == "clipped":
        assert 0 < (factor == 0).sum() < factor.numel()


def test_form_1_behind_a_normalisation_is_no_scaling():
    """And form 2 is the gradient divided by mean|w|, which a small start makes large."""
    x, direction = torch.randn(64, 20).double(), torch.randn(64, 8).double()
    gradients = {}
    for scaling in ("none", "form_1", "form_1_dyadic", "form_2"):
        torch.manual_seed(1)
        layer, norm = BinaryLinear(20, 8, "identity", scaling).double(), StackableBatchNorm(8, eps=1e-30).double()
        with torch.no_grad():
            layer.weight.mul_(1e-2)
        norm(layer(x)).backward(direction)
        gradients[scaling] = layer.weight.grad
        s = layer.weight.detach().abs().mean(1, keepdim=True)
    torch.testing.assert_close(gradients["form_1"], gradients["none"], rtol=1e-10, atol=1e-14)
    assert torch.equal(gradients["form_1_dyadic"], gradients["none"])
    torch.testing.assert_close(gradients["form_2"], gradients["none"] / s, rtol=1e-10, atol=1e-14)


def test_a_dyadic_scale_changes_no_rounding_behind_a_normalisation():
    """Sums of ±1 often equal their mean over the batch: rounding decides the sign, other scales round otherwise."""
    x, found = sign(torch.randn(10, 8)).double(), {}
    for scaling in ("none", "form_1_dyadic", "form_1"):
        torch.manual_seed(1)
        layer, norm = BinaryLinear(8, 200, "identity", scaling).double(), StackableBatchNorm(200, eps=1e-30).double()
        found[scaling] = norm(layer(x))
    sums = x @ sign(layer.weight.detach()).T
    ties = sums * 10 == sums.sum(0)  # exact, as whole numbers are
    assert ties.sum() > 50
    assert torch.equal(found["form_1_dyadic"], found["none"])
    torch.testing.assert_close(found["form_1"], found["none"], rtol=0, atol=1e-13)
    differ = sign(found["form_1"]) != sign(found["none"])
    assert differ.sum() > 5
    assert ties[differ].all()


@pytest.mark.parametrize("scaling", ["form_1", "form_1_dyadic", "form_2"])
def test_weights_of_zero_have_a_scale_of_zero(scaling):
    layer = BinaryLinear(3, 2, "identity", scaling)
    torch.nn.init.zeros_(layer.weight)
    layer(torch.ones(1, 3)).sum().backward()
    assert not layer.binary_weight().any()
    assert layer.weight.grad.isfinite().all()


def test_the_scaling_is_a_setting_of_each_layer():
    first, second = BinaryLinear(3, 3, "identity", "none"), BinaryLinear(3, 3, "identity", "none")
    second.set_binary("identity", "form_2")
    assert first.binary_weight().abs().max() == 1 > second.binary_weight().abs().max()
    assert "form_2" in repr(second)
    assert "form_2" not in repr(first)


@pytest.mark.parametrize("training", [True, False])
def test_normalisation_is_torch_s(training):
    ours, theirs = StackableBatchNorm(5), torch.nn.BatchNorm1d(5)
    for x in torch.randn(3, 16, 5) * 3 + 1:
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    ours.train(training), theirs.train(training)
    x = torch.randn(16, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize(
    ("variant", "input_shape", "layers", "binary", "parameters"),
    [
        ({"kind": "birealnet", "depth": 20}, (3, 32, 32), 18, 267_264, 272_474),
        ({"kind": "birealnet", "depth": 18}, (3, 224, 224), 16, 10_985_472, 11_689_512),
        ({"kind": "reactnet"}, (3, 224, 224), 31, 28_253_184, 29_343_592),
        ({"kind": "binary_mlp", "depth": 2, "width": 64}, (1, 14, 14), 2, 196 * 64 + 64 * 64, 17_546),
    ],
)
def test_binary_weights_are_counted(variant, input_shape, layers, binary, parameters):
    network = build(MODELS, variant).architecture(input_shape, 10 if input_shape[1] < 200 else 1000)
    assert len(list(binary_layers(network))) == layers
    assert sum(p.numel() for p in binary_parameters(network)) == binary
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for p in real_parameters(network)) == parameters - binary


@pytest.mark.parametrize("kind", ["binary_mlp", "birealnet", "reactnet"])
def test_initial_weights(kind):
    size = {"binary_mlp": {"depth": 2, "width": 50}, "birealnet": {"depth": 8}, "reactnet": {"width": 4}}[kind]
    shape = (3, 64, 64) if kind == "reactnet" else (1, 14, 14)

    def weights(**settings):
        network = build(MODELS, {"kind": kind, **size, **settings}).build(shape, 3, torch.Generator().manual_seed(0))
        return torch.cat([p.flatten() for p in binary_parameters(network)])

    uniform = weights(init="uniform", init_scale=0.25)
    assert -0.25 <= uniform.min() < -0.24 < 0.24 < uniform.max() <= 0.25
    assert abs(uniform.mean()) < 0.01
    positive = weights(init="positive", init_scale=0.25)
    assert 0 <= positive.min() < positive.max() <= 0.25
    assert not weights(init="zero").any()


def test_layers_of_a_stack_scale_each_slice_alone():
    layers = [BinaryLinear(4, 3, "identity", "form_2") for _ in range(2)]
    x = torch.randn(5, 4)
    torch.testing.assert_close(stack(layers)(x), torch.stack([layer(x) for layer in layers]))


def test_a_batch_of_one_is_refused_in_training_only():
    norm = StackableBatchNorm(3)
    with pytest.raises(ValueError, match="a batch of one example; batch normalisation needs two or more in training"):
        norm(torch.ones(1, 3))
    with pytest.raises(ValueError, match="a batch of one example"):
        norm(torch.ones(2, 1, 3))
    assert torch.equal(norm.running_mean, torch.zeros(3))
    norm(torch.ones(2, 3))
    norm.eval()(torch.ones(1, 3))
