"""The path bound of a network against its dense Hessian."""

import copy

import pytest
import torch
from torch.func import functional_call

from boundcheck.analyses import ANALYSES
from boundcheck.contracts import Snapshot, Split
from boundcheck.models import MLP, Autoencoder
from boundcheck.objectives import CrossEntropy, Reconstruction
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings


def measured(model, split, objective=None, **settings):
    analysis = build(ANALYSES, {"kind": "hessian_path_bound", **settings})
    rows = analysis.measure(
        Snapshot(model, objective or Reconstruction(), split, split, torch.Generator(), TrainingSettings())
    )
    return {row.quantity: row.value for row in rows}


@pytest.fixture
def split(generator):
    return Split(torch.rand(6, 1, 2, 3, generator=generator), torch.zeros(6, dtype=torch.int64))


def hessian_norm(model, split):
    named = {name: p.detach().double() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in named.values()]
    inputs = split.inputs.double()

    def loss(theta):
        pieces = zip(named.items(), theta.split(sizes), strict=True)
        state = {name: piece.view(p.shape) for (name, p), piece in pieces}
        return Reconstruction().losses(functional_call(model, state, (inputs,)), inputs.flatten(1))

    theta = torch.cat([p.flatten() for p in named.values()])
    return torch.linalg.matrix_norm(torch.autograd.functional.hessian(loss, theta, vectorize=True), 2).item()


@pytest.mark.parametrize(("activation", "output"), [("tanh", "sigmoid"), ("sigmoid", "linear"), ("linear", "linear")])
@pytest.mark.parametrize("skips", ["none", "inside"])
def test_it_bounds_the_hessian(skips, activation, output, split, generator):
    net = Autoencoder(2, [4], skips, activation=activation, output=output).build((1, 2, 3), 6, generator)
    before = copy.deepcopy(net.state_dict())
    norm, bounds = hessian_norm(net, split), measured(net, split)
    assert norm <= bounds["hessian_path_bound"]
    assert bounds["hessian_path_bound"] <= bounds["sublevel_hessian_bound"] * (1 + 1e-12)
    assert bounds["hessian_path_bound"] < 1000 * norm
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_only_the_first_samples_count(split, generator):
    net = Autoencoder(2, [4]).build((1, 2, 3), 6, generator)
    part = Split(split.inputs[:4], split.labels[:4])
    assert measured(net, split, samples=4) == measured(net, part) != measured(net, split)


def test_other_networks_and_losses_are_refused(split, generator):
    with pytest.raises(ValueError, match="model: got MLPNetwork; allowed: dag_net, autoencoder"):
        measured(MLP(1, 2).build((1, 2, 3), 6, generator), split)
    with pytest.raises(ValueError, match="loss: got CrossEntropy; allowed: reconstruction"):
        measured(Autoencoder(2, [4]).build((1, 2, 3), 6, generator), split, CrossEntropy())
