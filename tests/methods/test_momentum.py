"""Optimizers with a velocity, against their equations and against torch."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from boundcheck.methods import AdaptiveMomentum, AdaptiveMomentumMethod, HeavyBall, Nesterov, PolyakMethod

MAKERS = {
    "global": lambda params, **more: AdaptiveMomentum(params, 0.1, s=0.7, **more),
    "tensor": lambda params, **more: AdaptiveMomentum(params, 0.1, s=0.7, block="tensor", **more),
    "heavy_ball": lambda params, **more: HeavyBall(params, 0.1, **more),
    "nesterov": lambda params, **more: Nesterov(params, 0.1, **more),
}
each = pytest.mark.parametrize("name", MAKERS)


def run(network, optimizer, steps, start=0):
    for step in range(start, start + steps):
        network.batch = step % len(network.batches)
        optimizer.step(network.closure(optimizer))
    return network.theta()


def adaptive_momentum(network, s, eta, decay, blocks, num_steps):
    """θ after each step, from Δ ← −ηg + τΔ, τ = sη‖g‖/‖Δ‖ in every block."""
    theta = network.theta()
    delta, path = torch.zeros_like(theta), []
    for step in range(num_steps):
        network.batch = step % len(network.batches)
        g = network.gradient(theta) + decay * theta
        new = torch.empty_like(delta)
        for block in blocks:
            length = delta[block].norm()
            tau = s * eta * g[block].norm() / length if length > 0 else 0.0
            new[block] = -eta * g[block] + tau * delta[block]
        delta, theta = new, theta + new
        path.append(theta)
    return path


# 5-6-4: weights 30 + 6, 24 + 4
BLOCKS = {
    "global": [slice(0, 64)],
    "layer": [slice(0, 36), slice(36, 64)],
    "edge": [slice(0, 30), slice(30, 36), slice(36, 60), slice(60, 64)],
}


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("s", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("block", BLOCKS)
def test_adaptive_momentum_follows_its_equations(block, s, decay, make_network):
    network, reference = make_network(), make_network()
    optimizer = AdaptiveMomentumMethod(0.2, s, block, decay).optimizer(network.model)
    path = adaptive_momentum(reference, s, 0.2, decay, BLOCKS[block], 8)
    for step, expected in enumerate(path):
        before = network.theta()
        found = run(network, optimizer, 1, start=step)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(optimizer.update[0], found - before, rtol=0, atol=1e-15)


def test_the_gradient_that_was_used_is_kept(make_network):
    network = make_network()
    optimizer = AdaptiveMomentum(network.model.parameters(), 0.1, weight_decay=0.3)
    theta = network.theta()
    run(network, optimizer, 1)
    torch.testing.assert_close(optimizer.gradient[0], network.gradient(theta) + 0.3 * theta, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_heavy_ball_and_nesterov_are_those_of_torch(decay, make_network):
    for maker, nesterov in ((HeavyBall, False), (Nesterov, True)):
        network, reference = make_network(), make_network()
        expected = torch.optim.SGD(
            reference.model.parameters(), 0.1, momentum=0.8, weight_decay=decay, nesterov=nesterov
        )
        optimizer = maker(network.model.parameters(), 0.1, 0.8, decay)
        torch.testing.assert_close(run(network, optimizer, 9), run(reference, expected, 9), rtol=1e-12, atol=1e-13)


def test_polyak_takes_its_numbers_from_the_curvatures():
    method = PolyakMethod(4.0, 0.25)
    optimizer = method.optimizer(nn.Linear(2, 2))
    assert method.lr == optimizer.param_groups[0]["lr"] == pytest.approx(4 / 2.5**2)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx((1.5 / 2.5) ** 2)


@each
def test_a_learning_rate_for_each_slice(name):
    start = torch.randn(3, 4, dtype=torch.float64)
    rates = torch.tensor([0.05, 0.1, 0.3], dtype=torch.float64)

    def trained(values, lr, num_stacked):
        x = nn.Parameter(values.clone())
        optimizer = MAKERS[name]([x], num_stacked=num_stacked)
        optimizer.param_groups[0]["lr"] = lr
        for _ in range(5):
            optimizer.step(lambda: (optimizer.zero_grad(), (x.cos() + x**2).sum().backward()))
        return x.detach()

    together = trained(start, rates, 3)
    for i, rate in enumerate(rates.tolist()):
        torch.testing.assert_close(together[i], trained(start[i], rate, 1), rtol=0, atol=1e-13)


@each
def test_a_round_trip_in_mid_training_changes_no_bit(name, make_network):
    through = make_network()
    expected = run(through, MAKERS[name](through.model.parameters()), 8)
    first, second = make_network(), make_network()
    optimizer = MAKERS[name](first.model.parameters())
    run(first, optimizer, 5)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "model": first.model.state_dict()}, file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    second.model.load_state_dict(saved["model"])
    resumed = MAKERS[name](second.model.parameters())
    resumed.load_state_dict(saved["optimizer"])
    assert torch.equal(run(second, resumed, 3, start=5), expected)


@each
def test_a_copy_is_independent_and_equal(name, make_network):
    network = make_network()
    optimizer = MAKERS[name](network.model.parameters())
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    run(network, optimizer, 2)
    twin, twin_optimizer = copy.deepcopy((network, optimizer))
    assert torch.equal(run(twin, twin_optimizer, 3), run(network, optimizer, 3))


@each
def test_frozen_and_unreached_parameters_stay(name, make_network):
    plain, network = make_network(), make_network()
    expected = run(plain, MAKERS[name](plain.model.parameters(), weight_decay=0.1), 3)
    frozen = nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False)
    unreached = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = MAKERS[name]([frozen, *network.model.parameters(), unreached], weight_decay=0.1)
    assert torch.equal(run(network, optimizer, 3), expected)
    assert frozen.tolist() == [1, 1, 1]
    assert unreached.tolist() == [1, 1]


@each
def test_a_parameter_that_comes_and_goes_keeps_its_velocity(name):
    a, b = (nn.Parameter(torch.full((3,), v, dtype=torch.float64)) for v in (0.5, -0.3))
    optimizer = MAKERS[name]([a, b])
    for step in range(4):
        before = b.detach().clone()
        optimizer.zero_grad()
        (a.tanh() + (b.tanh() if step % 2 else 0)).pow(2).sum().backward()
        optimizer.step()
        assert torch.equal(b.detach(), before) == (step % 2 == 0)
        assert optimizer.state[b].get("velocity", before * 0).any() == (step > 0)


@each
def test_groups_with_equal_numbers_are_one_group(name, make_network):
    one, two = make_network(), make_network()
    expected = run(one, MAKERS[name](one.model.parameters()), 4)
    layers = [two.model[0].parameters(), two.model[2].parameters()]
    assert torch.equal(run(two, MAKERS[name]([{"params": list(layer)} for layer in layers]), 4), expected)


def test_a_group_may_have_its_own_numbers(make_network):
    """Two steps on one mini-batch, each block with its own η and s."""
    network, reference = make_network(num_batches=1), make_network(num_batches=1)
    groups = [{"params": network.model[0].parameters(), "lr": 0.2, "s": 0.3}, {"params": network.model[2].parameters()}]
    optimizer = AdaptiveMomentum(groups, 0.1, 0.8, "group")
    settings = ((0.3, 0.2, slice(0, 36)), (0.8, 0.1, slice(36, 64)))
    theta, delta = reference.theta(), torch.zeros(64, dtype=torch.float64)
    for _ in range(2):
        g, new = reference.gradient(theta), torch.empty_like(delta)
        for s, eta, block in settings:
            tau = s * eta * g[block].norm() / delta[block].norm() if delta[block].any() else 0.0
            new[block] = -eta * g[block] + tau * delta[block]
        delta, theta = new, theta + new
        torch.testing.assert_close(run(network, optimizer, 1), theta, rtol=1e-12, atol=1e-14)


def test_a_step_without_closure_or_gradient(make_network):
    network = make_network()
    optimizer = AdaptiveMomentum(network.model.parameters(), 0.1)
    before = network.theta()
    assert optimizer.step() is None
    assert torch.equal(network.theta(), before)


def test_bfloat16_parameters_have_velocities_in_float32():
    x = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = HeavyBall([x], 0.1)
    (x**2).sum().backward()
    optimizer.step()
    assert optimizer.update.dtype == optimizer.state[x]["velocity"].dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: AdaptiveMomentum(x, 0.0), "lr: got 0.0; allowed: a number > 0"),
        (lambda x: AdaptiveMomentum(x, 0.1, s=-0.1), "s: got -0.1; allowed: a number >= 0"),
        (lambda x: AdaptiveMomentum(x, 0.1, block="row"), "block: got 'row'; allowed: one of global, group, tensor"),
        (lambda x: AdaptiveMomentum(x, 0.1, weight_decay=-1), "weight_decay: got -1"),
        (lambda x: AdaptiveMomentum(x, 0.1, num_stacked=0), "num_stacked: got 0"),
        (lambda x: HeavyBall(x, 0.1, 1.0), "momentum: got 1.0; allowed: a number in"),
        (lambda x: Nesterov([{"params": x, "momentum": 2}], 0.1), "momentum: got 2"),
        (
            lambda x: AdaptiveMomentumMethod(0.1, block="group"),
            "block: got 'group'; allowed: one of global, layer, edge",
        ),
        (lambda x: AdaptiveMomentumMethod(-0.1), "lr: got -0.1"),
        (lambda x: PolyakMethod(1.0, 2.0), "strong_convexity: got 2.0"),
        (lambda x: PolyakMethod(0.0, 0.0), "curvature: got 0.0"),
    ],
)
def test_numbers_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make([nn.Parameter(torch.zeros(2))])
