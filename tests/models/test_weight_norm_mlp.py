"""The weight-normalised network against its equations and against the network that the theory is about."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from boundcheck.models import WeightNormMLP
from boundcheck.models.stacking import stack
from boundcheck.theory.weight_norm.network import passes


def build(generator, **settings):
    settings = {"depth": 2, "width": 5, **settings}
    return WeightNormMLP(**settings).build((2, 3), 4, generator).double()


@pytest.mark.parametrize("scales", ["paper", "plain"])
@pytest.mark.parametrize("normalised", [True, False])
def test_outputs_are_those_of_the_equations(generator, scales, normalised):
    network = build(generator, activation="softplus", scales=scales, normalised=normalised)
    w1, w2, v = (p.detach() for p in network.parameters())
    if normalised:
        w1, w2 = (w / w.norm(dim=1, keepdim=True) for w in (w1, w2))
    s1, s2 = (1 / math.sqrt(6), 1 / math.sqrt(5)) if scales == "paper" else (1.0, 1.0)
    x = torch.randn(7, 2, 3, generator=generator, dtype=torch.float64)
    a = F.softplus(s1 * x.flatten(1) @ w1.T)
    a = F.softplus(s2 * a @ w2.T)
    torch.testing.assert_close(network(x), a @ v.T / math.sqrt(5), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("gains", ["fixed", "trainable"])
def test_gains_multiply_pre_activations(generator, gains):
    network = build(generator, depth=1, gains=gains, gain=-0.75)
    w, v = network.layers[0].weight.detach(), network.output.detach()
    x = torch.randn(3, 2, 3, generator=generator, dtype=torch.float64)
    z = -0.75 * x.flatten(1) @ (w / w.norm(dim=1, keepdim=True)).T / math.sqrt(6)
    torch.testing.assert_close(network(x), z.tanh() @ v.T / math.sqrt(5), rtol=1e-12, atol=1e-14)
    assert ("hidden.0.gain" in dict(network.named_parameters())) == (gains == "trainable")
    assert "hidden.0.gain" in network.state_dict()


def test_the_length_of_rows_does_not_change_the_function(generator):
    network = build(generator)
    x = torch.randn(7, 2, 3, generator=generator, dtype=torch.float64)
    before = network(x)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(torch.rand(5, 1, generator=generator, dtype=torch.float64) + 0.1)
    torch.testing.assert_close(network(x), before, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "settings",
    [{}, {"gains": "fixed", "gain": 2.0}, {"gains": "trainable"}, {"scales": "plain"}, {"normalised": False}],
    ids=str,
)
def test_the_theory_sees_the_same_function(generator, settings):
    network = build(generator, activation="gelu", **settings)
    x = torch.randn(7, 6, generator=generator, dtype=torch.float64)
    for k in range(4):
        theory = network.theory(network.output[k])
        torch.testing.assert_close(passes(theory, x).f, network(x.view(7, 2, 3))[:, k], rtol=1e-12, atol=1e-14)
    assert theory.trainable_gains == (settings.get("gains") == "trainable")


def test_a_stack_is_seen_by_the_theory_too(generator):
    networks = [build(generator) for _ in range(3)]
    stacked = stack(networks).theory()
    assert stacked.weights[0].shape == (3, 5, 6)
    torch.testing.assert_close(stacked.row_norms(2)[1], networks[1].theory().row_norms(2))


def test_initial_values(generator):
    network = WeightNormMLP(depth=2, width=300).build((40,), 7, generator)
    for layer, fan_in in zip(network.layers, (40, 300), strict=True):
        bound = 1 / math.sqrt(fan_in)
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.05)
    torch.testing.assert_close(network.output.norm(dim=1), torch.ones(7))
    network = WeightNormMLP(depth=1, width=300, half_width=0.2, output_norm=None).build((40,), 7, generator)
    assert 0.99 * 0.2 < network.layers[0].weight.abs().max() <= 0.2
    assert network.output.abs().max() <= 1 / math.sqrt(300)
    network = WeightNormMLP(depth=1, width=30, row_norm=2.5).build((40,), 7, generator)
    torch.testing.assert_close(network.layers[0].weight.norm(dim=1), torch.full((30,), 2.5))


def test_half_widths_scale_the_same_draw():
    first, second = (
        WeightNormMLP(depth=1, width=4, half_width=c).build((6,), 2, torch.Generator().manual_seed(3))
        for c in (0.25, 0.5)
    )
    torch.testing.assert_close(2 * first.layers[0].weight, second.layers[0].weight)


def test_one_output(generator):
    network = WeightNormMLP(depth=1, width=4).build((6,), 1, generator)
    assert network(torch.randn(3, 6)).shape == (3, 1)


REFUSED = [
    ({"activation": "relu"}, "activation: got 'relu'; allowed: one of tanh, gelu, softplus, silu (ReLU is not smooth"),
    ({"gains": "fixed", "normalised": False}, "gains: got 'fixed' with normalised false; allowed: none"),
    ({"gain": 2.0}, "gain: got 2.0; allowed: a number that is not 0; only 1 if gains is none"),
    ({"gains": "fixed", "gain": 0.0}, "gain: got 0.0"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_numbers_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        WeightNormMLP(**({"depth": 2, "width": 8} | change))
