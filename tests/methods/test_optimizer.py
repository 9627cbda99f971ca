"""What every wrapper of a base optimizer promises to anyone's training script, checked for each in OPTIMIZERS."""

from __future__ import annotations

import copy
import gc
import io
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from boundcheck.methods import OPTIMIZERS
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.registry import load

ACCELERATED = {"rho": 0.2, "alpha": 0.6, "radius": 0.02, "beta": 0.5, "gamma": 0.03}
VARIANTS = {
    "sam": ("sam", {"rho": 0.1}),
    "asam": ("sam", {"rho": 0.5, "adaptive": True}),
    "gsam": ("gsam", {"rho": 0.1, "alpha": 0.3}),
    "gradient_penalty": ("gradient_penalty", {"lam": 0.02, "radius": 0.1}),
    "ascent_only": ("ascent_only", {"rho": 0.1}),
    "gam_exact": ("gam", {"rho": 0.1, "alpha": 0.3}),
    "gam_two_inner_steps": ("gam", {"rho": 0.1, "alpha": 0.3, "inner_steps": 2, "oracle": "sam", "oracle_rho": 0.1}),
    "gam_finite_difference": ("gam", {"rho": 0.1, "alpha": 0.3, "form": "finite_difference", "radius": 0.02}),
    "gam_paper": ("gam", {"form": "accelerated_paper", **ACCELERATED}),
    "gam_released": ("gam", {"form": "accelerated_released", **ACCELERATED}),
}
pytestmark = pytest.mark.parametrize("name", VARIANTS)


def wrap(name, base, **more):
    kind, settings = VARIANTS[name]
    return load(OPTIMIZERS, kind)(base, **settings, **more)


def strength_of(name):
    """The number that says how far a method looks, or how much it penalises."""
    return "lam" if name == "gradient_penalty" else "rho"


def warming_up(name):
    return {f"{strength_of(name)}_warmup": 5}


def momentum_sgd(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=5e-4)


def run(network, optimizer, steps):
    for step in range(steps):
        network.batch = step % len(network.batches)
        optimizer.step(network.closure(optimizer))
    return network.theta()


def test_every_registered_optimizer_is_tested(name):
    wrappers = {kind for kind in OPTIMIZERS if issubclass(load(OPTIMIZERS, kind), MultiPass)}
    assert {kind for kind, _ in VARIANTS.values()} == wrappers


@pytest.mark.parametrize("base", [momentum_sgd, torch.optim.AdamW])
def test_a_round_trip_in_mid_training_changes_no_bit(name, base, make_network):
    through = make_network()
    expected = run(through, wrap(name, base(through.model.parameters()), **warming_up(name)), 8)

    first, second = make_network(), make_network()
    optimizer = wrap(name, base(first.model.parameters()), **warming_up(name))
    run(first, optimizer, 5)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "model": first.model.state_dict()}, file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)

    second.model.load_state_dict(saved["model"])
    resumed = wrap(name, base(second.model.parameters()), **warming_up(name))
    resumed.load_state_dict(saved["optimizer"])
    for step in range(5, 8):
        second.batch = step % len(second.batches)
        resumed.step(second.closure(resumed))
    assert torch.equal(second.theta(), expected)
    assert resumed.param_groups is resumed.base.param_groups
    assert resumed.state is resumed.base.state


def test_the_state_of_a_bare_base_will_do(name, make_network):
    network = make_network()
    base = momentum_sgd(network.model.parameters())
    state = base.state_dict()
    optimizer = wrap(name, base)
    optimizer.load_state_dict(state)
    run(network, optimizer, 1)


def test_a_copy_is_independent_and_equal(name, make_network):
    network = make_network()
    optimizer = wrap(name, momentum_sgd(network.model.parameters()))
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    run(network, optimizer, 2)
    twin, twin_optimizer = copy.deepcopy((network, optimizer))
    assert torch.equal(run(twin, twin_optimizer, 3), run(network, optimizer, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_theta_is_put_back_bit_for_bit(name, dtype, make_network):
    if name == "gam_released":
        pytest.skip("its arithmetic is the authors', rounding included")
    network = make_network(dtype=dtype)
    before = network.theta()
    optimizer = wrap(name, torch.optim.SGD(network.model.parameters(), lr=0.0))
    run(network, optimizer, 3)
    assert torch.equal(network.theta(), before)
    assert network.direction().abs().sum() > 0


def test_theta_is_put_back_after_an_error(name, make_network):
    network = make_network()
    before = network.theta()
    optimizer = wrap(name, momentum_sgd(network.model.parameters()))
    closure = network.closure(optimizer)
    calls = []

    def failing():
        calls.append(1)
        if len(calls) == 2:
            assert not torch.equal(network.theta(), before)
            raise KeyboardInterrupt
        return closure()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(failing)
    assert torch.equal(network.theta(), before)


def test_step_returns_the_loss_of_the_first_pass(name, make_network):
    network = make_network()
    expected = network.loss(network.theta())
    optimizer = wrap(name, momentum_sgd(network.model.parameters()))
    loss = optimizer.step(network.closure(optimizer))
    assert torch.equal(loss.detach(), expected)
    assert all(p.grad.grad_fn is None and not p.grad.requires_grad for p in network.model.parameters())


def test_step_needs_a_closure(name, make_network):
    optimizer = wrap(name, momentum_sgd(make_network().model.parameters()))
    with pytest.raises(ValueError, match="closure"):
        optimizer.step()


def test_the_other_kind_of_closure_is_refused(name, make_network):
    network = make_network()
    optimizer = wrap(name, momentum_sgd(network.model.parameters()))
    before = network.theta()

    def other():
        loss = network.loss(nn.utils.parameters_to_vector(network.model.parameters()))
        if optimizer.second_order:
            loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="backward\\(\\)"):
        optimizer.step(other)
    if optimizer.second_order:
        with pytest.raises(RuntimeError, match="not its value"):
            optimizer.step(lambda: other().item())
    assert torch.equal(network.theta(), before)


def test_a_closure_that_forgets_to_clear_the_gradients_does_no_harm(name, make_network):
    clearing, forgetting = make_network(), make_network()
    expected = run(clearing, wrap(name, momentum_sgd(clearing.model.parameters())), 3)
    optimizer = wrap(name, momentum_sgd(forgetting.model.parameters()))
    optimizer.zero_grad = lambda: None
    assert torch.equal(run(forgetting, optimizer, 3), expected)


def test_frozen_and_unreached_parameters_stay_and_do_not_count(name, make_network):
    """Their weight decay and momentum do not move them either, as with torch's own optimizers."""
    plain, network = make_network(), make_network()
    expected = run(plain, wrap(name, momentum_sgd(plain.model.parameters())), 3)
    frozen = nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False)
    unreached = nn.Parameter(torch.ones(2, dtype=torch.float64))
    unreached.grad = torch.ones_like(unreached)
    optimizer = wrap(name, momentum_sgd([frozen, *network.model.parameters(), unreached]))
    assert torch.equal(run(network, optimizer, 3), expected)
    assert frozen.tolist() == [1, 1, 1]
    assert unreached.tolist() == [1, 1]
    assert unreached.grad is None


def test_a_parameter_may_come_and_go(name):
    """The second branch is reached at every other step only."""
    a, b = (nn.Parameter(torch.full((3,), v, dtype=torch.float64)) for v in (0.5, -0.3))
    optimizer = wrap(name, torch.optim.SGD([a, b], lr=0.1))
    for step in range(4):
        before = b.detach().clone()

        def closure(step=step):
            loss = (a.tanh() + (b.tanh() if step % 2 else 0)).pow(2).sum().cos()
            if not optimizer.second_order:
                loss.backward()
            return loss

        optimizer.step(closure)
        assert torch.equal(b.detach(), before) == (step % 2 == 0)


def test_groups_with_equal_numbers_are_one_group(name, make_network):
    """Norms are over all groups."""
    one, two = make_network(), make_network()
    expected = run(one, wrap(name, momentum_sgd(one.model.parameters())), 4)
    layers = [two.model[0].parameters(), two.model[2].parameters()]
    optimizer = wrap(name, momentum_sgd([{"params": list(layer)} for layer in layers]))
    assert torch.equal(run(two, optimizer, 4), expected)


def test_a_group_may_have_its_own_strength(name, make_network):
    """With strength zero a group is not perturbed, or not penalised, while it still counts in the norms."""
    network = make_network()
    first, last = network.model[0], network.model[2]
    base = torch.optim.SGD([{"params": first.parameters()}, {"params": last.parameters()}], lr=0.0)
    strength = strength_of(name)
    base.param_groups[1][strength] = 0.0
    optimizer = wrap(name, base)
    assert base.param_groups[0][strength] > 0 == base.param_groups[1][strength]
    seen, closure = [], network.closure(optimizer)

    def watching():
        seen.append([layer.weight.detach().clone() for layer in (first, last)])
        return closure()

    optimizer.step(watching)
    assert any(not torch.equal(seen[0][0], weights[0]) for weights in seen[1:])
    if name in ("sam", "gsam", "ascent_only", "gam_exact"):
        assert all(torch.equal(seen[0][1], weights[1]) for weights in seen)
    if name == "gradient_penalty":
        expected = network.gradient(network.theta())[-28:]
        torch.testing.assert_close(network.direction()[-28:], expected, rtol=0, atol=1e-14)


def test_a_group_added_later_gets_the_numbers_and_trains(name, make_network):
    network, late = make_network(), make_network()
    expected = run(network, wrap(name, momentum_sgd(network.model.parameters())), 3)
    optimizer = wrap(name, momentum_sgd(late.model[0].parameters()))
    optimizer.add_param_group({"params": late.model[2].parameters()})
    assert len(optimizer.param_groups) == len(optimizer.base.param_groups) == 2
    assert torch.equal(run(late, optimizer, 3), expected)


def test_a_group_with_a_bad_number_is_refused_and_not_added(name, make_network):
    network = make_network()
    optimizer = wrap(name, momentum_sgd(network.model[0].parameters()))
    with pytest.raises(ValueError, match=f"{strength_of(name)}: got -1"):
        optimizer.add_param_group({"params": network.model[2].parameters(), strength_of(name): -1})
    assert len(optimizer.param_groups) == len(optimizer.base.param_groups) == 1


def test_schedulers_of_the_wrapper_move_the_base(name, make_network, recwarn):
    network = make_network()
    optimizer = wrap(name, momentum_sgd(network.model.parameters()))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    for _ in range(2):
        run(network, optimizer, 1)
        scheduler.step()
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.05)
    assert not recwarn.list


def test_an_autocast_around_the_step_sees_the_perturbed_weights(name, make_network):
    """Autocast keeps the casts of weights until it ends; around a whole step they would be those of the first pass."""
    inside, outside = make_network(dtype=torch.float32), make_network(dtype=torch.float32)
    optimizer = wrap(name, torch.optim.SGD(inside.model.parameters(), lr=0.1))
    closure = inside.closure(optimizer)

    def closure_with_autocast():
        with torch.autocast("cpu", torch.bfloat16):
            return closure()

    optimizer.step(closure_with_autocast)
    optimizer = wrap(name, torch.optim.SGD(outside.model.parameters(), lr=0.1))
    with torch.autocast("cpu", torch.bfloat16):
        optimizer.step(outside.closure(optimizer))
    assert torch.equal(inside.theta(), outside.theta())


def test_nothing_of_a_step_stays_behind_but_its_buffers(name, make_network, monkeypatch):
    """No cycle of references keeps a graph until the collector runs, and the next step makes no new buffers."""
    network = make_network()
    optimizer = wrap(name, momentum_sgd(network.model.parameters()))
    seen, original = [], type(optimizer).direction

    def direction(self, landscape, **numbers):
        seen.append(weakref.ref(landscape))
        return original(self, landscape, **numbers)

    monkeypatch.setattr(type(optimizer), "direction", direction)
    network.model[1].register_forward_hook(lambda module, inputs, output: seen.append(weakref.ref(output)))
    gc.collect()
    gc.disable()
    try:
        run(network, optimizer, 1)
        layout = optimizer._layout
        run(network, optimizer, 2)
        assert len(seen) >= 9
        assert all(reference() is None for reference in seen)
        assert optimizer._layout is layout
    finally:
        gc.enable()


def test_a_base_that_maximises_is_refused(name, make_network):
    with pytest.raises(ValueError, match="maximize"):
        wrap(name, torch.optim.SGD(make_network().model.parameters(), lr=0.1, maximize=True))


def test_a_base_with_a_number_of_the_same_name_is_refused(name, make_network):
    base = torch.optim.SGD(make_network().model.parameters(), lr=0.1)
    base.defaults[strength_of(name)] = 0.9
    with pytest.raises(ValueError, match=f"SGD has its own '{strength_of(name)}'"):
        wrap(name, base)


def test_a_diverged_gradient_does_not_raise(name):
    x = nn.Parameter(torch.tensor([float("inf"), 1.0]))
    optimizer = wrap(name, torch.optim.SGD([x], lr=0.1))

    def closure():
        loss = F.mse_loss(x, torch.zeros(2))
        if not optimizer.second_order:
            loss.backward()
        return loss

    assert not torch.isfinite(optimizer.step(closure))
