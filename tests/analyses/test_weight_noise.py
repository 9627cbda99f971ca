"""The loss under weight noise, against plain loops over the draws."""

import copy

import pytest
import torch

from boundcheck.analyses.weight_noise import WeightNoise
from boundcheck.contracts import Snapshot, Split
from boundcheck.settings import TrainingSettings
from boundcheck.theory.gam.risk import perturbation_scale


@pytest.fixture
def test(train):
    return Split(train.inputs[:10].flip(-1), train.labels[:10])


def at(rows, quantity):
    (row,) = [row for row in rows if row.quantity == quantity]
    return row


def test_means_and_maximum_are_those_of_the_same_draws(mlp, objective, train, test):
    analysis = WeightNoise(rhos=[0.5], draws=4, tail_draws=50)
    rows = analysis.measure(Snapshot(mlp, objective, train, test, torch.Generator().manual_seed(3), TrainingSettings()))
    generator = torch.Generator().manual_seed(3)
    size = sum(parameter.numel() for parameter in mlp.parameters())
    sigma = float(perturbation_scale(0.5, size, 20))
    means, largest = {"train": [], "test": []}, 0.0
    for draw in range(5):
        noisy = copy.deepcopy(mlp).double()
        if draw:
            noise = torch.randn(size, generator=generator, dtype=torch.float64)
            torch.nn.utils.vector_to_parameters(
                torch.nn.utils.parameters_to_vector(noisy.parameters()).detach() + sigma * noise, noisy.parameters()
            )
        for name, split in (("train", train), ("test", test)):
            losses = [
                objective.losses(noisy(split.inputs[i : i + 1].double()), split.labels[i : i + 1]).item()
                for i in range(len(split.labels))
            ]
            largest = max(largest, *losses)
            if draw:
                means[name].append(sum(losses) / len(losses))
    for name, values in means.items():
        row = at(rows, f"noisy_{name}_loss")
        assert row.value == pytest.approx(sum(values) / 4, rel=1e-12)
        assert row.error == pytest.approx(torch.tensor(values, dtype=torch.float64).std().item(), rel=1e-6)
    assert at(rows, "largest_loss").value == pytest.approx(largest, rel=1e-12)
    assert at(rows, "num_samples").value == 20
    assert at(rows, "num_parameters").value == size


def test_the_noise_seldom_leaves_the_ball(mlp, objective, train, test, generator):
    rows = WeightNoise(rhos=[0.1], draws=2, tail_draws=400).measure(
        Snapshot(mlp, objective, train, test, generator, TrainingSettings())
    )
    assert at(rows, "noise_tail").value <= 20**-0.5


def test_a_network_that_is_not_finite_has_only_its_loss(mlp, objective, train, test, generator):
    with torch.no_grad():
        mlp[1].weight[0, 0] = torch.nan
    rows = WeightNoise().measure(Snapshot(mlp, objective, train, test, generator, TrainingSettings()))
    assert [row.quantity for row in rows] == ["loss"]
