"""Gradient filters alone: equations written out, torch's conventions, and what the released code stumbles over."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from boundcheck.methods import METHODS, Bop, DecoupledSGD, GradientFilter, StateSpaceFilter
from boundcheck.methods.binary_training import BinaryTraining
from boundcheck.models.binary_layers import BinaryLinear
from boundcheck.registry import build

REAL = {"kind": "adamw", "lr": 0.01}
RATES = {
    "first": {"alpha": 0.1},
    "second": {"alpha": 0.1, "gamma": 0.3},
    "third": {"alpha": 0.1, "gamma": 0.3, "delta": 0.5},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def gradients(steps, *shape):
    return torch.randn(steps, *shape, dtype=torch.float64)


def feed(optimizer, parameter, sequence):
    """Bits (T, ...) after each gradient."""
    found = []
    for g in sequence:
        parameter.grad = g.clone()
        optimizer.step()
        found.append(parameter.detach().clone())
    return torch.stack(found)


def reference(start, sequence, alpha, gamma=1.0, delta=1.0, factors=None):
    """The released update, written out, with one more average."""
    b = torch.where(start >= 0, 1.0, -1.0).to(start)
    n = m = inertia = torch.zeros_like(start)
    found = []
    for t, g in enumerate(sequence):
        a = alpha * (1 if factors is None else factors[t])
        n = (1 - delta) * n + delta * g
        m = (1 - gamma) * m + gamma * n
        inertia = (1 - a) * inertia + a * m
        b = torch.where(inertia * b > 0, -b, b)
        found.append(b)
    return torch.stack(found)


@pytest.mark.parametrize("order", RATES)
def test_bits_are_those_of_the_equations(order):
    start, sequence = torch.randn(40, dtype=torch.float64), gradients(60, 40)
    parameter = nn.Parameter(start.clone())
    found = feed(GradientFilter([parameter], **RATES[order]), parameter, sequence)
    assert torch.equal(found, reference(start, sequence, **RATES[order]))
    assert (found[1:] != found[:-1]).sum() > 50


@pytest.mark.parametrize("order", RATES)
def test_state_is_one_tensor_per_average(order):
    parameter = nn.Parameter(torch.randn(7))
    optimizer = GradientFilter([parameter], **RATES[order])
    feed(optimizer, parameter, torch.randn(3, 7))
    expected = {"first": {"inertia"}, "second": {"inertia", "momentum"}}
    assert set(optimizer.state[parameter]) == expected.get(order, {"inertia", "momentum", "inner_momentum"})


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, float("nan"), "0.1", True])
@pytest.mark.parametrize("name", ["alpha", "gamma", "delta"])
def test_rates_outside_the_unit_interval_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name}: got .*; allowed: a number in \(0, 1\]"):
        GradientFilter([nn.Parameter(torch.ones(1))], **{"alpha": 0.5, name: value})


def test_rates_of_one_are_allowed():
    parameter = nn.Parameter(torch.tensor([1.0, -1.0]))
    found = feed(GradientFilter([parameter], alpha=1.0, gamma=1.0), parameter, torch.tensor([[1.0, 1.0], [-1.0, 0.5]]))
    assert found.tolist() == [[-1, -1], [1, -1]]


def test_zeros_become_plus_one_and_can_flip():
    """The released code keeps a weight of 0 for ever: a missing connection."""
    parameter = nn.Parameter(torch.tensor([0.0, -0.0, -1e-9, 2.0]))
    optimizer = GradientFilter([parameter], alpha=0.5)
    assert parameter.tolist() == [1, 1, -1, 1]
    parameter.grad = torch.ones(4)
    optimizer.step()
    assert parameter.tolist() == [-1, -1, -1, -1]


def test_a_bit_without_inertia_stays():
    parameter = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimizer = GradientFilter([parameter], alpha=0.5)
    parameter.grad = torch.zeros(2)
    optimizer.step()
    assert parameter.tolist() == [1, -1]


def test_a_bit_is_the_sign_of_its_inertia():
    parameter = nn.Parameter(torch.randn(40, dtype=torch.float64))
    optimizer = GradientFilter([parameter], alpha=0.1, gamma=0.3)
    feed(optimizer, parameter, gradients(5, 40))
    assert torch.equal(parameter.detach(), -optimizer.state[parameter]["inertia"].sign())


def test_trained_signs_survive_a_preset_start_and_not_one_of_zero():
    """The released code starts at zero: the first step sets every bit, whatever was trained before."""
    trained = torch.randn(2000, dtype=torch.float64)
    before = torch.where(trained >= 0, 1.0, -1.0).double()
    kept = {}
    for inertia in (0.0, 5.0):
        parameter = nn.Parameter(trained.clone())
        optimizer = GradientFilter([parameter], alpha=0.01, initial_inertia=inertia)
        torch.manual_seed(1)
        found = feed(optimizer, parameter, gradients(1, 2000))[0]
        kept[inertia] = (found == before).double().mean().item()
    assert kept[0.0] == pytest.approx(0.5, abs=0.05)
    assert kept[5.0] > 0.99


def test_a_bias_correction_would_change_no_bit():
    """Another positive factor of the inertia has no effect on its sign, in time either."""
    start, sequence = torch.zeros(30, dtype=torch.float64), gradients(50, 30)
    parameter = nn.Parameter(start.clone())
    found = feed(GradientFilter([parameter], alpha=0.1), parameter, sequence)
    average = torch.zeros_like(start)
    for t, g in enumerate(sequence, 1):
        average = 0.9 * average + 0.1 * g
        assert torch.equal(found[t - 1], -(average / (1 - 0.9**t)).sign())


def test_the_learning_rate_is_a_schedule_and_nothing_else():
    """The released code multiplies α by whatever rate it is given; a rate of 0.1 shrinks it tenfold."""
    start, sequence = torch.randn(30, dtype=torch.float64), gradients(40, 30)
    plain, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    expected = feed(GradientFilter([plain], alpha=0.05, gamma=0.3), plain, sequence)
    found = feed(GradientFilter([{"params": [other], "lr": 0.1}], alpha=0.05, gamma=0.3), other, sequence)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("decay", [["alpha"], [], ["alpha", "gamma"]])
def test_any_scheduler_schedules_the_rates_that_decay(decay):
    start, sequence = torch.randn(30, dtype=torch.float64), gradients(40, 30)
    parameter = nn.Parameter(start.clone())
    optimizer = GradientFilter([parameter], alpha=0.2, gamma=0.4, decay=decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / 50)
    b = torch.where(start >= 0, 1.0, -1.0).double()
    m = inertia = torch.zeros_like(start)
    for t, g in enumerate(sequence):
        parameter.grad = g.clone()
        optimizer.step()
        scheduler.step()
        a, c = (rate * (1 - t / 50 if name in decay else 1) for name, rate in (("alpha", 0.2), ("gamma", 0.4)))
        m = (1 - c) * m + c * g
        inertia = (1 - a) * inertia + a * m
        b = torch.where(inertia * b > 0, -b, b)
        assert torch.equal(parameter.detach(), b)
    assert optimizer.param_groups[0]["alpha"] == 0.2  # it is never multiplied in place, so never twice


@pytest.mark.parametrize("name", ["gamma", "delta"])
def test_a_rate_of_one_may_decay(name):
    """It is no average at first, and one later."""
    start, sequence = torch.randn(30, dtype=torch.float64), gradients(40, 30)
    parameter = nn.Parameter(start.clone())
    optimizer = GradientFilter([parameter], alpha=0.2, decay=[name])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / 50)
    b = torch.where(start >= 0, 1.0, -1.0).double()
    m = inertia = torch.zeros_like(start)
    for t, g in enumerate(sequence):
        parameter.grad = g.clone()
        optimizer.step()
        scheduler.step()
        m = (t / 50) * m + (1 - t / 50) * g
        inertia = 0.8 * inertia + 0.2 * m
        b = torch.where(inertia * b > 0, -b, b)
        assert torch.equal(parameter.detach(), b)
    plain = nn.Parameter(start.clone())
    assert not torch.equal(feed(GradientFilter([plain], alpha=0.2), plain, sequence)[-1], b)


def test_the_state_space_form_is_the_cascade():
    start, sequence = torch.randn(50, dtype=torch.float64), gradients(120, 50)
    alpha, gamma, c = 0.05, 0.3, 0.02
    one, two = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    cascade = GradientFilter([one], alpha, gamma, initial_inertia=c, initial_momentum=c)
    state_space = StateSpaceFilter([two], alpha * gamma, (1 - alpha) * (1 - gamma), initial_inertia=c)
    assert torch.equal(feed(cascade, one, sequence), feed(state_space, two, sequence))
    torch.testing.assert_close(cascade.state[one]["inertia"], state_space.state[two]["inertia"])


def test_decoupled_sgd_is_written_out():
    for form, share in (("average", 0.2), ("heavy_ball", 1.0)):
        w = torch.randn(9, dtype=torch.float64)
        parameter, m = nn.Parameter(w.clone()), torch.zeros_like(w)
        optimizer = DecoupledSGD([parameter], 0.1, momentum=0.8, weight_decay=0.05, form=form)
        for g in gradients(5, 9):
            parameter.grad = g.clone()
            optimizer.step()
            m = 0.8 * m + share * g
            w = (1 - 0.1 * 0.05) * w - 0.1 * m
        torch.testing.assert_close(parameter.detach(), w, rtol=1e-14, atol=0)


def test_bop_flips_above_its_threshold_only():
    parameter = nn.Parameter(torch.tensor([1.0, 1.0, -1.0, -1.0]))
    optimizer = Bop([parameter], gamma=0.5, threshold=0.1)
    parameter.grad = torch.tensor([0.3, 0.2, -0.3, 0.3])  # averages 0.15, 0.1, -0.15, 0.15
    optimizer.step()
    assert parameter.tolist() == [-1, 1, 1, -1]


MAKERS = {
    "filter": lambda params: GradientFilter(params, alpha=0.1, gamma=0.3, initial_inertia=0.1),
    "state space": lambda params: StateSpaceFilter(params, 0.05, 0.8, initial_inertia=0.1),
    "bop": lambda params: Bop(params, gamma=0.1, threshold=1e-3),
    "decoupled": lambda params: DecoupledSGD(params, 0.1, 0.9, 0.01),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@makers
def test_a_round_trip_changes_no_bit(make):
    sequence = gradients(30, 6, 5)
    start = torch.randn(6, 5, dtype=torch.float64)
    whole, part = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    expected = feed(make([whole]), whole, sequence)
    first = make([part])
    feed(first, part, sequence[:12])
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "bits": part.detach()}, file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    other = nn.Parameter(saved["bits"])
    second = make([other])
    second.load_state_dict(saved["optimizer"])
    assert torch.equal(feed(second, other, sequence[12:]), expected[12:])


@makers
def test_memory_formats_do_not_matter(make):
    """The released code fails on channels-last weights."""
    start, sequence = torch.randn(4, 3, 3, 3, dtype=torch.float64), gradients(10, 4, 3, 3, 3)
    plain = nn.Parameter(start.clone())
    last = nn.Parameter(start.clone().contiguous(memory_format=torch.channels_last))
    found = feed(make([last]), last, [g.contiguous(memory_format=torch.channels_last) for g in sequence])
    assert torch.equal(found, feed(make([plain]), plain, sequence))
    assert last.is_contiguous(memory_format=torch.channels_last)


@makers
def test_closures_groups_copies_and_absent_gradients(make):
    a, b = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(3))
    optimizer = make([{"params": [a]}, {"params": [b]}])
    before = b.detach().clone()

    def closure():
        optimizer.zero_grad()
        loss = (a * torch.arange(5.0)).sum()
        loss.backward()
        return loss

    assert isinstance(optimizer.step(closure), torch.Tensor)
    assert torch.equal(b, before)  # it has no gradient
    assert optimizer.step() is None
    late = nn.Parameter(torch.randn(2))
    optimizer.add_param_group({"params": [late]})
    late.grad = torch.ones(2)
    optimizer.step()
    twin, twin_a = copy.deepcopy((optimizer, a))
    assert twin.param_groups[0]["params"][0] is not a
    assert torch.equal(twin_a, a)


def test_groups_may_have_rates_of_their_own():
    start, sequence = torch.randn(2, 20, dtype=torch.float64), gradients(30, 20)
    a, b = (nn.Parameter(s.clone()) for s in start)
    optimizer = GradientFilter([{"params": [a]}, {"params": [b], "alpha": 0.5, "gamma": 0.2}], alpha=0.1)
    for g in sequence:
        a.grad, b.grad = g.clone(), g.clone()
        optimizer.step()
    assert torch.equal(a.detach(), reference(start[0], sequence, 0.1)[-1])
    assert torch.equal(b.detach(), reference(start[1], sequence, 0.5, 0.2)[-1])
    with pytest.raises(ValueError, match="alpha: got 2"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "alpha": 2})


@pytest.mark.parametrize(
    "variant",
    [
        {"kind": "gradient_filter", "alpha": 0.1, "gamma": 0.3, "real": REAL},
        {"kind": "latent_sgd", "lr": 0.1, "momentum": 0.9, "real": {"kind": "sgd", "lr": 0.1, "momentum": 0.5}},
        {"kind": "latent_adam", "lr": 0.1, "real": REAL},
        {
            "kind": "mapped_filter",
            "latent": {"kind": "latent_sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "real": REAL},
        },
    ],
    ids=lambda variant: variant["kind"],
)
def test_both_parts_are_one_optimizer_with_one_state(variant):
    def network():
        torch.manual_seed(3)
        return nn.Sequential(BinaryLinear(6, 8, "identity", "none"), nn.Tanh(), nn.Linear(8, 3))

    def run(model, optimizer, steps, start=0):
        for step in range(start, start + steps):
            torch.manual_seed(step)
            x = torch.randn(10, 6)

            def closure(x=x):
                optimizer.zero_grad()
                loss = model(x).square().sum()
                loss.backward()
                return loss

            optimizer.step(closure)
        return [p.detach().clone() for p in model.parameters()]

    method = build(METHODS, variant)
    whole = network()
    expected = run(whole, method.optimizer(whole), 8)
    model = network()
    optimizer = method.optimizer(model)
    assert isinstance(optimizer, BinaryTraining)
    assert len(optimizer.param_groups) == 2
    run(model, optimizer, 3)
    other = copy.deepcopy(model)
    resumed = method.optimizer(other)
    for p, q in zip(other.parameters(), model.parameters(), strict=True):
        p.data.copy_(q)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert all(torch.equal(p, q) for p, q in zip(run(other, resumed, 5, 3), expected, strict=True))
    assert all(part.state is resumed.state for part in resumed.parts)


def test_clipping_holds_latent_weights_within_one():
    variant = {"kind": "latent_sgd", "lr": 5.0, "clip": True, "real": REAL}
    layer = BinaryLinear(4, 4, "identity", "none")
    optimizer = build(METHODS, variant).optimizer(layer)
    layer(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    assert layer.weight.abs().max() == 1


def mapped(mapping, **latent):
    variant = {"kind": "latent_sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "real": REAL, **latent}
    return {"kind": "mapped_filter", "mapping": mapping, "latent": variant}


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            {"kind": "gradient_filter", "alpha": 0.1, "initial_state": "preset", "real": REAL},
            "initial_inertia: got None",
        ),
        (
            {"kind": "gradient_filter", "alpha": 0.1, "real": {"kind": "sam"}},
            "real: unknown kind 'sam'; allowed: adamw, sgd",
        ),
        ({"kind": "gradient_filter", "alpha": 0.1, "real": {"kind": "sgd", "lr": -1}}, "real: lr: got -1"),
        (
            {"kind": "state_space_filter", "rate": 4, "momentum": 0.5, "real": REAL},
            r"rate: got 4.0; allowed: a number in \(0, 3\)",
        ),
        (
            {"kind": "mapped_filter", "latent": {"kind": "sgd"}},
            "latent: unknown kind 'sgd'; allowed: latent_adam, latent_adamw, latent_sgd",
        ),
        ({"kind": "mapped_filter", "latent": {"kind": "latent_adam", "lr": 0.1, "real": REAL}}, "has no filter"),
        (mapped("riccati", weight_decay=0.3), "mapping: got riccati; allowed: exact, state_space .complex poles"),
        (mapped("frozen_roots", weight_decay=0.3), "mapping: got frozen_roots; .* .complex poles"),
        (mapped("scaled_alpha", nesterov=True), "mapping: got scaled_alpha; .* .dampening or nesterov"),
        (mapped("state_space", weight_decay=0.0), "mapping: got state_space; allowed: exact .weight_decay is 0"),
        (mapped("exact", weight_decay=0.0, dampening=1.0), r"dampening: got 1\.0; allowed: a number in \[0, 1\)"),
    ],
)
def test_bad_numbers_are_refused(variant, message):
    with pytest.raises(ValueError, match=message):
        build(METHODS, variant)


def test_what_makes_no_sense_is_skipped_with_a_reason():
    method = build(METHODS, {"kind": "gradient_filter", "alpha": 0.1, "real": REAL})
    from boundcheck.models import MLP, BinaryMLP

    assert method.skips(MLP(1, 4)) == "the model has no binary layers"
    assert method.skips(BinaryMLP(1, 4)) is None
