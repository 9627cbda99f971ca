"""DAG networks against the equations of their layers, and their gradients against back-propagation written out."""

import math

import pytest
import torch
from torch.func import functional_call, vmap

from boundcheck.models import DAGNet
from boundcheck.models.mlp import MLP
from boundcheck.models.stacking import stack

FUNCTIONS = {  # g and g' as a function of x = g(z)
    "sigmoid": (torch.sigmoid, lambda x: x * (1 - x)),
    "tanh": (torch.tanh, lambda x: 1 - x**2),
    "linear": (lambda z: z, torch.ones_like),
}
GRAPHS = ["sequential", "complete", [[0], [0], [0, 2, 1], [3, 0], [2, 4]]]


def built(generator, **settings):
    return DAGNet(**{"widths": [5, 4, 3, 4]} | settings).build((2, 3), 4, generator).double()


def back_propagation(network, inputs, targets):
    """E = ½ Σ_n ‖x_L − o‖² and its gradient: δ_L = (x_L − o)·g', δ_l = (Σ_{m ∈ C(l)} W_mlᵀ δ_m)·g', Σ_n δ_l x_jᵀ."""
    x, depth = [inputs.flatten(1)], len(network.parents)
    for level, parents in enumerate(network.parents, start=1):
        layer = network.layers[level - 1]
        z = sum(x[j] @ layer.weight(j).T for j in parents)
        if layer.bias is not None:
            z = z + layer.bias
        x.append(FUNCTIONS[network.activations[level - 1]][0](z))
    deltas, gradients = {}, {}
    for level in range(depth, 0, -1):
        if level == depth:
            arriving = x[depth] - targets
        else:
            children = [m for m in range(level + 1, depth + 1) if level in network.parents[m - 1]]
            arriving = sum(deltas[m] @ network.layers[m - 1].weight(level) for m in children)
        deltas[level] = arriving * FUNCTIONS[network.activations[level - 1]][1](x[level])
        for j in network.parents[level - 1]:
            gradients[f"layers.{level - 1}.from_{j}"] = deltas[level].T @ x[j]
        gradients[f"layers.{level - 1}.bias"] = deltas[level].sum(0)
    return (x[depth] - targets).square().sum() / 2, gradients


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "output"), [("tanh", "sigmoid"), ("sigmoid", "linear"), ("linear", "tanh")])
@pytest.mark.parametrize("parents", GRAPHS, ids=str)
def test_autograd_equals_back_propagation_on_the_graph(parents, activation, output, bias, generator):
    network = built(generator, parents=parents, activation=activation, output=output, bias=bias)
    inputs = torch.randn(7, 2, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    loss = (network(inputs) - targets).square().sum() / 2
    loss.backward()
    with torch.no_grad():
        expected, gradients = back_propagation(network, inputs, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-14)
    for name, parameter in network.named_parameters():
        scale = max(1.0, gradients[name].abs().max().item())
        assert (parameter.grad - gradients[name]).abs().max() <= 1e-14 * scale


def test_a_sequential_graph_is_an_mlp(generator):
    network = built(generator, parents="sequential")
    mlp = MLP(depth=4, width=3).build((2, 3), 4, generator).double()
    for layer, (level, own) in zip(mlp.layers, enumerate(network.layers), strict=True):
        layer.weight.data, layer.bias.data = own.weight(level).data, own.bias.data
    inputs = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(network(inputs), mlp(inputs), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False], ids=["shared inputs", "inputs of each"])
def test_a_stack_computes_what_vmap_computes(bias, shared, generator):
    networks = [built(generator, parents=GRAPHS[2], bias=bias) for _ in range(3)]
    stacked = stack(networks)
    x = torch.randn(*(() if shared else (3,)), 5, 2, 3, generator=generator, dtype=torch.float64)
    parameters = dict(stacked.named_parameters())
    expected = vmap(lambda p, x: functional_call(networks[0], p, (x,)), (0, None if shared else 0))(parameters, x)
    torch.testing.assert_close(stacked(x), expected, rtol=1e-12, atol=1e-12)


def test_initial_values_have_the_spread_of_all_inputs_of_a_layer(generator):
    network = DAGNet([300], "complete", init_scale=2.0).build((100,), 200, generator).requires_grad_(False)
    for layer, fan_in in zip(network.layers, (100, 400), strict=True):
        bound = 2 / math.sqrt(fan_in)
        for parameter in layer.parameters():
            assert parameter.abs().max() <= bound
            assert parameter.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_a_plain_network_has_no_code(generator):
    assert built(generator).code_size is None


def test_layers_without_parents_and_edges_backwards_are_refused():
    for parents in ([[0], [2]], [[0]]):
        with pytest.raises(ValueError, match=r"^parents: got .*; allowed: "):
            DAGNet([3], parents)
