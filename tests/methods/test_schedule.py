"""How a radius or a coefficient moves during training."""

from __future__ import annotations

import pytest
import torch

from boundcheck.methods import GAM, GSAM, SAM, GradientPenalty
from boundcheck.methods.schedule import scheduled


def group(**changes):
    return {"rho": 0.4, "rho_min": None, "rho_warmup": 0, "num_steps": 0, "lr": 0.1, "initial_lr": 0.2} | changes


def test_constant_unless_told_otherwise():
    assert scheduled(group(num_steps=100, lr=0.0), "rho") == 0.4


@pytest.mark.parametrize(("lr", "expected"), [(0.2, 0.4), (0.1, 0.25), (0.0, 0.1)])
def test_in_proportion_to_the_learning_rate(lr, expected):
    assert scheduled(group(rho_min=0.1, lr=lr), "rho") == pytest.approx(expected)


def test_no_initial_learning_rate_means_no_change():
    settings = group(rho_min=0.1)
    del settings["initial_lr"]
    assert scheduled(settings, "rho") == pytest.approx(0.4)


@pytest.mark.parametrize(("num_steps", "expected"), [(0, 0.1), (2, 0.3), (3, 0.4), (50, 0.4)])
def test_warmup_starts_above_zero_and_ends_at_the_full_value(num_steps, expected):
    assert scheduled(group(rho_warmup=4, num_steps=num_steps), "rho") == pytest.approx(expected)


def perturbations(optimizer, network, steps, scheduler=None):
    """Lengths of the first perturbation of each step."""
    lengths, closure = [], network.closure(optimizer)
    for _ in range(steps):
        points = []
        optimizer.step(lambda points=points: (points.append(network.theta()), closure())[1])
        lengths.append((points[1] - points[0]).norm().item())
        if scheduler:
            scheduler.step()
    return lengths


def test_a_scheduler_of_the_learning_rate_moves_the_radius(make_network):
    network = make_network()
    optimizer = SAM(torch.optim.SGD(network.model.parameters(), lr=0.1), 0.4, rho_min=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 4)
    lengths = perturbations(optimizer, network, 4, scheduler)
    assert lengths == pytest.approx([0.4, 0.325, 0.25, 0.175])


def test_warmup_counts_steps(make_network):
    network = make_network()
    optimizer = SAM(torch.optim.SGD(network.model.parameters(), lr=0.1), 0.4, rho_warmup=4)
    assert perturbations(optimizer, network, 5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_only_the_radius_of_the_ball_moves_in_gam(make_network):
    """ρ′ is a step of a difference and stays."""
    network = make_network()
    optimizer = GAM(
        torch.optim.SGD(network.model.parameters(), lr=0.1), 0.4, 0.3, "finite_difference", radius=0.02, rho_warmup=4
    )
    assert perturbations(optimizer, network, 3) == pytest.approx([0.02, 0.02, 0.02])


def test_the_coefficient_of_a_penalty_moves_and_its_radius_stays(make_network):
    network = make_network()
    optimizer = GradientPenalty(torch.optim.SGD(network.model.parameters(), lr=0.0), 0.04, 0.1, lam_warmup=2)
    directions = []
    for _ in range(2):
        optimizer.step(network.closure(optimizer))
        directions.append(network.direction())
    g = network.gradient(network.theta())
    torch.testing.assert_close(directions[1] - g, 2 * (directions[0] - g), rtol=0, atol=1e-13)
    assert perturbations(optimizer, network, 1) == pytest.approx([0.1])


def direction_of(network, kind, lr, **settings):
    """What a step along the network's gradient field is made of, when the learning rate has gone from 0.1 to `lr`."""
    optimizer = kind(torch.optim.SGD(network.model.parameters(), lr=0.1), 0.3, **settings)
    optimizer.param_groups[0] |= {"initial_lr": 0.1, "lr": lr}
    optimizer.step(network.closure(optimizer))
    return network.direction()


@pytest.mark.parametrize("kind", [GAM, GSAM])
@pytest.mark.parametrize(
    ("lr", "schedule", "alpha"), [(0.025, {"alpha_min": 0.4}, 0.5), (0.1, {"alpha_warmup": 4}, 0.2)]
)
def test_the_coefficient_falls_with_the_learning_rate_or_warms_up(make_network, kind, lr, schedule, alpha):
    found = direction_of(make_network(), kind, lr, alpha=0.8, **schedule)
    expected = direction_of(make_network(), kind, lr, alpha=alpha)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    assert not torch.allclose(found, direction_of(make_network(), kind, lr, alpha=0.8))


def test_a_least_coefficient_above_the_coefficient_is_refused(make_network):
    with pytest.raises(ValueError, match=r"alpha_min: got 0.9; allowed: a number in \[0, alpha\]"):
        direction_of(make_network(), GSAM, 0.1, alpha=0.8, alpha_min=0.9)


def test_the_radius_of_the_oracle_moves_by_itself(make_network):
    oracle = {"alpha": 0.3, "oracle": "sam", "oracle_rho": 0.2}
    found = direction_of(make_network(), GAM, 0.05, **oracle, oracle_rho_min=0.1, oracle_rho_warmup=3)
    expected = direction_of(make_network(), GAM, 0.05, **oracle | {"oracle_rho": 0.05})
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="oracle_rho_min, oracle_rho_warmup: got None, 3; allowed: none, without"):
        direction_of(make_network(), GAM, 0.05, alpha=0.3, oracle_rho_warmup=3)


def test_parameters_in_place_of_an_optimizer_are_refused(make_network):
    with pytest.raises(TypeError, match="base: got a generator; allowed: an optimizer"):
        SAM(make_network().model.parameters(), 0.1)


def test_a_learning_rate_that_begins_at_zero_leaves_the_strength():
    assert scheduled(group(rho_min=0.1, lr=0.0, initial_lr=0.0), "rho") == pytest.approx(0.4)
