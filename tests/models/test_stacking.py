"""Stacks against the networks they hold."""

import pytest
import torch
from torch import nn

from boundcheck.models import MLP
from boundcheck.models.stacking import load_slice, num_stacked, stack, unstack
from boundcheck.objectives import CrossEntropy

K = 3


class Centred(nn.Module):
    """(x − running mean) · weight, a network with buffers, of several types, that takes a leading axis."""

    def __init__(self, seed):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2, 4), float(seed)).double())
        self.tied = self.weight
        self.frozen = nn.Parameter(torch.ones(2).double(), requires_grad=False)
        self.register_buffer("mean", torch.full((1, 4), seed / 10).double())
        self.register_buffer("steps", torch.tensor(seed))

    def forward(self, x):
        return (x - self.mean) @ self.weight.mT


@pytest.fixture
def networks(generator):
    return [MLP(2, 6).build((4,), 5, generator).double() for _ in range(K)]


def test_outputs_and_gradients_are_those_of_the_single_networks(networks, generator):
    inputs = torch.randn(K, 7, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (K, 7), generator=generator)
    stacked, objective = stack(networks), CrossEntropy(0.1)
    losses = objective.losses(stacked(inputs), labels)
    losses.sum().backward()
    for i, network in enumerate(networks):
        loss = objective.losses(network(inputs[i]), labels[i])
        loss.backward()
        torch.testing.assert_close(losses[i], loss, rtol=1e-12, atol=1e-12)
        for single, together in zip(network.parameters(), stacked.parameters(), strict=True):
            torch.testing.assert_close(together.grad[i], single.grad, rtol=1e-12, atol=1e-12)


def test_second_derivatives_are_those_of_the_single_networks(networks, generator):
    inputs = torch.randn(K, 7, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (K, 7), generator=generator)
    stacked = stack(networks)
    directions = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in stacked.parameters()]

    def hvp(network, inputs, labels, direction):
        parameters = list(network.parameters())
        loss = CrossEntropy().losses(network(inputs), labels).sum()
        gradient = torch.autograd.grad(loss, parameters, create_graph=True)
        return torch.autograd.grad(gradient, parameters, direction)

    together = hvp(stacked, inputs, labels, directions)
    for i, network in enumerate(networks):
        single = hvp(network, inputs[i], labels[i], [d[i] for d in directions])
        for a, b in zip(together, single, strict=True):
            torch.testing.assert_close(a[i], b, rtol=1e-12, atol=1e-12)


def test_buffers_are_stacked_and_the_networks_left_alone():
    networks = [Centred(seed) for seed in range(K)]
    stacked = stack(networks)
    x = torch.linspace(0, 1, 12).double().reshape(3, 4)
    assert torch.equal(stacked(x), torch.stack([network(x) for network in networks]))
    assert stacked.steps.tolist() == [0, 1, 2]
    assert stacked.tied is stacked.weight
    assert not stacked.frozen.requires_grad
    assert networks[0].weight.shape == (2, 4)


@pytest.mark.parametrize("make", [Centred, lambda i: MLP(1, 3).build((2,), 2, torch.Generator().manual_seed(i))])
def test_unstacking_undoes_stacking(make):
    networks = [make(i) for i in range(K)]
    stacked = stack(networks)
    assert num_stacked(stacked) == K
    for i, (network, again) in enumerate(zip(networks, unstack(stacked), strict=True)):
        loaded = load_slice(make(100), stacked.state_dict(), i)
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name])
            assert torch.equal(tensor, loaded.state_dict()[name])


def test_what_is_unstacked_shares_no_memory(networks):
    stacked = stack(networks)
    single = unstack(stacked)[0]
    assert all(p.untyped_storage().nbytes() == p.nbytes for p in single.parameters())
    single.layers[0].weight.data.zero_()
    stacked.layers[1].weight.data.zero_()
    assert stacked.layers[0].weight.all()
    assert networks[0].layers[1].weight.all()


def test_different_architectures_are_rejected(generator):
    narrow, wide = (MLP(1, width).build((4,), 2, generator) for width in (3, 5))
    for modules in ([narrow, wide], [narrow, MLP(1, 3).build((4,), 2, generator).double()], []):
        with pytest.raises(ValueError, match=r"^modules: got .*; allowed: "):
            stack(modules)


def test_a_single_network_is_no_stack(networks):
    with pytest.raises(ValueError, match="leading axis"):
        num_stacked(networks[0])


def test_a_slice_of_another_architecture_is_rejected(networks, generator):
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_slice(MLP(2, 7).build((4,), 5, generator), stack(networks).state_dict(), 0)
