"""The contract of every registered model, each in a small variant."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from boundcheck.models import MODELS
from boundcheck.models.stacking import stack
from boundcheck.registry import build

MLP = {"kind": "mlp", "depth": 2, "width": 8}
RESNET = {"kind": "resnet", "depth": 8, "width": 4}
SMALL_IMAGENET = {"kind": "resnet", "depth": 18, "width": 4}
BOTTLENECK = {"kind": "resnet", "depth": 50, "width": 4, "stem": "imagenet"}
WIDE = {"kind": "wide_resnet", "depth": 10, "widen": 2, "base_width": 4}
PYRAMID = {"kind": "pyramidnet", "depth": 11, "alpha": 12}
PYRAMID_BASIC = {"kind": "pyramidnet", "depth": 8, "alpha": 12, "bottleneck": False}
# A head of zeros, the default, hides the layers before it from the gradient.
VIT = {"kind": "vit", "patch": 7, "dim": 8, "depth": 2, "heads": 2, "zero_head": False}
DAG = {"kind": "dag_net", "widths": [6, 4]}
AUTOENCODER = {"kind": "autoencoder", "code": 2, "widths": [6, 4]}
BINARY_MLP = {"kind": "binary_mlp", "depth": 2, "width": 8}
BIREAL = {"kind": "birealnet", "depth": 8, "width": 4}
REACT = {"kind": "reactnet", "width": 2}
WEIGHT_NORM = {"kind": "weight_norm_mlp", "depth": 2, "width": 8}
WEIGHT_NORMED = {"kind": "weight_normed", "base": RESNET}

CASES = [
    (MLP, (1, 14, 14)),
    (MLP | {"activation": "gelu", "bias": False, "init": "normal"}, (11,)),
    (MLP | {"activation": "softplus", "init": "xavier"}, (11,)),
    (MLP | {"activation": "silu", "init_scale": 0.5}, (11,)),
    (MLP | {"activation": "relu", "init": "he"}, (3, 8, 8)),
    (RESNET, (1, 14, 14)),
    (RESNET, (3, 32, 32)),
    (RESNET, (1, 9, 11)),
    (SMALL_IMAGENET, (1, 28, 28)),
    (BOTTLENECK, (3, 72, 72)),
    (WIDE, (1, 14, 14)),
    (WIDE, (3, 32, 32)),
    (PYRAMID, (1, 14, 14)),
    (PYRAMID_BASIC, (3, 32, 32)),
    (VIT, (1, 14, 14)),
    (VIT, (1, 28, 28)),
    (VIT | {"patch": 8}, (3, 32, 32)),
    (DAG, (1, 4, 4)),
    (DAG | {"parents": [[0], [0], [0, 2, 1]], "activation": "sigmoid", "output": "tanh", "bias": False}, (11,)),
    (DAG | {"parents": "sequential", "activation": "linear", "output": "sigmoid", "init_scale": 2.0}, (11,)),
    (AUTOENCODER, (1, 4, 4)),
    (AUTOENCODER | {"skips": "none", "matched": True, "activation": "sigmoid", "output": "linear"}, (11,)),
    (BINARY_MLP | {"activation_gradient": "identity"}, (1, 14, 14)),
    (BINARY_MLP | {"scaling": "form_1", "init": "positive"}, (11,)),
    (BINARY_MLP | {"scaling": "form_2", "activation_gradient": "clipped", "weight_gradient": "clipped"}, (11,)),
    (BIREAL, (1, 14, 14)),
    (BIREAL | {"shortcut": "pad", "scaling": "form_1"}, (3, 9, 11)),
    (BIREAL | {"depth": 18, "scaling": "form_2", "init_scale": 0.5}, (3, 40, 40)),
    (BIREAL | {"init": "zero", "activation_gradient": "clipped"}, (1, 8, 8)),
    (REACT, (3, 64, 64)),
    (WEIGHT_NORM, (1, 14, 14)),
    (WEIGHT_NORM | {"activation": "softplus", "gains": "trainable", "output_norm": None}, (11,)),
    (WEIGHT_NORM | {"activation": "gelu", "gains": "fixed", "gain": -0.5, "half_width": 0.3}, (11,)),
    (WEIGHT_NORM | {"activation": "silu", "normalised": False, "scales": "plain", "row_norm": 2.0}, (11,)),
    (WEIGHT_NORMED, (1, 14, 14)),
    (WEIGHT_NORMED | {"base": MLP, "keep_last": False}, (11,)),
]
NUM_OUTPUTS, BATCH = 5, 4
cases = pytest.mark.parametrize(("variant", "input_shape"), CASES)
BINARY = ("binary_mlp", "birealnet", "reactnet")  # a sign has no derivative; what stands in for it: test_binary.py
smooth_cases = pytest.mark.parametrize(("variant", "input_shape"), [c for c in CASES if c[0]["kind"] not in BINARY])
modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def built(variant, input_shape, seed=0):
    return build(MODELS, variant).build(input_shape, NUM_OUTPUTS, torch.Generator().manual_seed(seed))


def batch(input_shape):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(BATCH, *input_shape, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(NUM_OUTPUTS, (BATCH,), generator=generator)


def test_every_model_is_tested():
    assert {variant["kind"] for variant, _ in CASES} == set(MODELS)


@cases
def test_is_float32_on_the_cpu_whatever_the_defaults(variant, input_shape):
    torch.set_default_dtype(torch.float64)
    try:
        network = built(variant, input_shape)
    finally:
        torch.set_default_dtype(torch.float32)
    tensors = [*network.parameters(), *network.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in network.parameters())


@cases
@modes
def test_outputs_have_their_shape_in_both_precisions(variant, input_shape, training):
    inputs, _ = batch(input_shape)
    network = built(variant, input_shape).train(training)
    assert network(inputs.float()).shape == (BATCH, NUM_OUTPUTS)
    outputs = network.double()(inputs)
    assert outputs.dtype == torch.float64
    assert outputs.isfinite().all()


@cases
def test_all_randomness_comes_from_the_generator(variant, input_shape):
    state = torch.get_rng_state()
    first, again, other = (built(variant, input_shape, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@cases
def test_no_value_is_left_unset(variant, input_shape):
    state = built(variant, input_shape).state_dict()
    assert [name for name, tensor in state.items() if tensor.isnan().any()] == []


@cases
@modes
def test_the_gradient_reaches_every_parameter(variant, input_shape, training):
    inputs, labels = batch(input_shape)
    network = built(variant, input_shape).double().train(training)
    F.cross_entropy(network(inputs), labels).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def smooth(network):
    """The network with softplus instead of ReLU, whose kinks differences would step over."""
    for module in network.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Softplus())
    return network


@smooth_cases
@modes
def test_the_second_derivative_is_that_of_differences(variant, input_shape, training):
    inputs, labels = batch(input_shape)
    network = smooth(built(variant, input_shape)).double().train(training)
    parameters = list(network.parameters())
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]

    def gradient(create_graph=False):
        return torch.autograd.grad(F.cross_entropy(network(inputs), labels), parameters, create_graph=create_graph)

    hvp = torch.autograd.grad(gradient(create_graph=True), parameters, direction)
    step, gradients = 1e-7, []
    with torch.no_grad():
        torch._foreach_add_(parameters, direction, alpha=step)
    gradients.append(gradient())
    with torch.no_grad():
        torch._foreach_sub_(parameters, direction, alpha=2 * step)
    gradients.append(gradient())
    differences = [(up - down) / (2 * step) for up, down in zip(*gradients, strict=True)]
    flat, reference = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (hvp, differences))
    error = (flat - reference).norm() / reference.norm()
    assert error < 1e-7


@cases
@modes
def test_the_second_derivative_exists_with_its_own_activation(variant, input_shape, training):
    inputs, labels = batch(input_shape)
    network = built(variant, input_shape).train(training)
    parameters = list(network.parameters())
    gradient = torch.autograd.grad(F.cross_entropy(network(inputs.float()), labels), parameters, create_graph=True)
    hvp = torch.autograd.grad(gradient, parameters, gradient)
    assert all(tensor.isfinite().all() for tensor in hvp)
    assert any(tensor.any() for tensor in hvp)


@pytest.mark.parametrize(("variant", "input_shape"), [case for case in CASES if build(MODELS, case[0]).stackable])
def test_a_stackable_model_accepts_a_leading_axis(variant, input_shape):
    networks = [built(variant, input_shape, seed).double() for seed in range(3)]
    inputs, _ = batch(input_shape)
    outputs = stack(networks)(inputs)
    expected = torch.stack([network(inputs) for network in networks])
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_no_model_imports_what_training_does_not_need():
    script = f"""
import sys, torch
from boundcheck.models import MODELS
from boundcheck.registry import build
for variant, shape in {CASES}:
    build(MODELS, variant).build(shape, 2, torch.Generator())
heavy = {{"torchvision", "scipy", "sklearn", "pandas", "matplotlib", "sympy"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
