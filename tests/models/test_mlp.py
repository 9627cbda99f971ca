"""The fully connected network against its equations."""

import math

import pytest
import torch
from torch.func import functional_call, vmap

from boundcheck.models import MLP
from boundcheck.models.stacking import stack


def test_outputs_are_those_of_the_equations(generator):
    network = MLP(depth=2, width=5, activation="softplus").build((2, 3), 4, generator).double()
    (w0, b0), (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in network.layers)
    x = torch.randn(7, 2, 3, generator=generator, dtype=torch.float64)
    for inputs, outputs in zip(x, network(x), strict=True):
        a = torch.log1p(torch.exp(w0 @ inputs.reshape(6) + b0))
        a = torch.log1p(torch.exp(w1 @ a + b1))
        torch.testing.assert_close(outputs, w2 @ a + b2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("activation", "value"),
    [
        ("tanh", math.tanh(0.7)),
        ("gelu", 0.35 * (1 + math.erf(0.7 / math.sqrt(2)))),
        ("softplus", math.log1p(math.exp(0.7))),
        ("silu", 0.7 / (1 + math.exp(-0.7))),
        ("relu", 0.7),
    ],
)
def test_activations_are_those_of_their_names(activation, value, generator):
    network = MLP(depth=1, width=1, activation=activation, bias=False).build((1,), 1, generator).double()
    for parameter in network.parameters():
        parameter.data.fill_(1.0)
    assert network(torch.tensor([[0.7]], dtype=torch.float64)).item() == pytest.approx(value, rel=1e-14)


def test_depth_0_is_linear(generator):
    network = MLP(depth=0, width=9).build((3, 2, 2), 4, generator)
    assert [tuple(p.shape) for p in network.parameters()] == [(4, 12), (4,)]


def test_number_of_parameters(count):
    assert count(MLP(depth=2, width=256), (1, 28, 28), 10) == 784 * 256 + 256 + 256 * 257 + 10 * 257
    assert count(MLP(depth=1, width=3, bias=False), (5,), 2) == 15 + 6


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False], ids=["shared inputs", "inputs of each"])
def test_a_stack_computes_what_vmap_computes(bias, shared, generator):
    networks = [MLP(2, 6, "gelu", bias).build((1, 4, 4), 3, generator).double() for _ in range(3)]
    stacked = stack(networks)
    x = torch.randn(*(() if shared else (3,)), 5, 1, 4, 4, generator=generator, dtype=torch.float64)
    parameters = dict(stacked.named_parameters())
    expected = vmap(lambda p, x: functional_call(networks[0], p, (x,)), (0, None if shared else 0))(parameters, x)
    torch.testing.assert_close(stacked(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("init_scale", [1.0, 3.0])
def test_uniform_is_the_default_of_torch(init_scale, generator):
    network = MLP(1, 400, init_scale=init_scale).build((100,), 300, generator)
    for layer in network.requires_grad_(False).layers:
        bound = init_scale / math.sqrt(layer.in_features)
        for parameter in (layer.weight, layer.bias):
            assert parameter.abs().max() <= bound
            assert parameter.abs().max() > 0.97 * bound
        assert layer.weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("init", "std"),
    [("normal", math.sqrt(1 / 100)), ("he", math.sqrt(2 / 100)), ("xavier", math.sqrt(2 / (100 + 400)))],
)
def test_other_initial_values_have_their_spread_and_biases_0(init, std, generator):
    first = MLP(1, 400, init=init).build((100,), 10, generator).requires_grad_(False).layers[0]
    assert first.weight.std() == pytest.approx(std, rel=0.02)
    assert abs(first.weight.mean()) < 0.02 * std
    assert not first.bias.any()
    kurtosis = first.weight.pow(4).mean() / first.weight.var() ** 2
    assert kurtosis == pytest.approx(1.8 if init == "xavier" else 3, rel=0.05)  # uniform, normal
