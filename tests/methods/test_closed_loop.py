"""A binary network trained with latent weights and by the mapped filter: the same bits at every step, or not."""

from __future__ import annotations

import json
import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from boundcheck.methods import METHODS, GradientFilter
from boundcheck.methods.mapped_filter import mapped_filter
from boundcheck.models import MODELS
from boundcheck.models.binary_layers import binary_parameters, sign
from boundcheck.models.binary_mlp import BinaryMLP
from boundcheck.models.stacking import stack
from boundcheck.registry import build

STEPS, INPUTS, WIDTH = 200, 48, 24  # 1,728 binary weights
REAL = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.0}
SGD = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.02, "real": REAL}
DECOUPLED = {"kind": "latent_sgd_decoupled", "lr": 0.1, "weight_decay": 0.05, "momentum": 0.8, "real": REAL}
ADAMW = {"kind": "latent_adamw", "lr": 0.01, "weight_decay": 0.5, "real": REAL}
ADAM = {"kind": "latent_adam", "lr": 0.01, "weight_decay": 0.01, "real": REAL}
ROWS = {
    "sgd": SGD,
    "averaged momentum": DECOUPLED,
    "heavy ball": DECOUPLED | {"form": "heavy_ball"},
    "torch sgd": SGD | {"momentum": 0.9},
    "torch sgd, complex poles": SGD | {"momentum": 0.9, "weight_decay": 0.3},
    "torch sgd, dampening": SGD | {"momentum": 0.9, "dampening": 0.5},
    "torch sgd, nesterov": SGD | {"momentum": 0.9, "nesterov": True},
    "adamw": ADAMW,
    "adamw, no decay": ADAMW | {"weight_decay": 0.0},
    "sgd, no decay": SGD | {"weight_decay": 0.0},
    "torch sgd, no decay": SGD | {"momentum": 0.9, "weight_decay": 0.0},
    "torch sgd, dampening, no decay": SGD | {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.0},
    "torch sgd, nesterov, no decay": SGD | {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
    "heavy ball, no decay": DECOUPLED | {"form": "heavy_ball", "weight_decay": 0.0},
    "averaged momentum, no decay": DECOUPLED | {"weight_decay": 0.0},
    "held alpha": DECOUPLED | {"hold_rate": True},
    "held alpha, heavy ball": DECOUPLED | {"hold_rate": True, "form": "heavy_ball"},
    "sgd, dampening without momentum, no decay": SGD | {"dampening": 0.5, "weight_decay": 0.0},
}
SCHEDULES = {
    "constant": lambda t: 1.0,
    "cosine": lambda t: (1 + math.cos(math.pi * t / STEPS)) / 2,
    "stepped": lambda t: 1.0 if t < STEPS // 4 else 0.1,
}


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(5, INPUTS, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (8, 40), generator=generator)
    noise = torch.randn(8, 40, INPUTS, generator=generator, dtype=torch.float64)
    return [(centres[y] + 1.5 * e, y) for y, e in zip(labels, noise, strict=True)]


@pytest.fixture(scope="module")
def train(batches):
    """`train(variant, ...)` -> packed signs (T+1, n) of all binary weights."""

    @cache
    def run(described, schedule, dtype, steps, seeds):
        variant, model = json.loads(described)
        method = build(METHODS, variant)
        settings = {"init_scale": 0.02} | model
        networks = [
            BinaryMLP(2, WIDTH, **settings).build((INPUTS,), 5, torch.Generator().manual_seed(seed)) for seed in seeds
        ]
        network = method.prepare(stack(networks) if len(seeds) > 1 else networks[0]).to(dtype)
        optimizer = method.optimizer(network, len(seeds))
        first = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        history = [bits(network)]
        for t in range(steps):
            inputs, labels = batches[t % len(batches)]
            for group, lr in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = lr * float(SCHEDULES[schedule](t))

            def closure(inputs=inputs, labels=labels):
                optimizer.zero_grad()
                outputs = network(inputs.to(dtype))
                loss = F.cross_entropy(outputs.flatten(0, -2), labels.repeat(len(seeds)), reduction="sum") / 40
                loss.backward()
                return loss

            optimizer.step(closure)
            history.append(bits(network))
        return torch.stack(history)

    def train(variant, schedule="constant", dtype=torch.float64, steps=STEPS // 2, seeds=(0,), **model):
        return run(json.dumps([variant, model]), schedule, dtype, steps, seeds)

    return train


def bits(network):
    return torch.cat([(sign(p.detach()) > 0).flatten() for p in binary_parameters(network)])


CASES = [(row, schedule) for row in ROWS for schedule in ("cosine", "constant")]


@pytest.mark.parametrize(("row", "schedule"), CASES)
def test_no_bit_differs(row, schedule, train):
    steps = STEPS if schedule == "cosine" else STEPS // 2
    latent = train(ROWS[row], schedule, steps=steps)
    filtered = train({"kind": "mapped_filter", "latent": ROWS[row]}, schedule, steps=steps)
    assert (latent[1:] != latent[:-1]).sum() > 300
    assert int((latent != filtered).sum()) == 0


@pytest.mark.parametrize("row", ["torch sgd", "averaged momentum"])
def test_no_bit_differs_when_the_rate_drops_tenfold(row, train):
    mapped = {"kind": "mapped_filter", "latent": ROWS[row]}
    assert int((train(ROWS[row], "stepped") != train(mapped, "stepped")).sum()) == 0


def first_mismatch(a, b):
    steps = (a != b).any(1).nonzero()
    return int(steps[0]) if len(steps) else None


MOMENTUM = ROWS["torch sgd"]


@pytest.mark.parametrize(
    ("mapping", "schedule"),
    [
        ("small_rates", "constant"),
        ("product", "constant"),
        ("scaled_alpha_no_momentum", "constant"),
        ("zero_start", "constant"),
        ("first_roots", "cosine"),
        ("frozen_roots", "cosine"),
        ("scaled_alpha", "cosine"),
    ],
)
def test_a_wrong_mapping_breaks(mapping, schedule, train):
    wrong = {"kind": "mapped_filter", "latent": MOMENTUM, "mapping": mapping}
    assert first_mismatch(train(MOMENTUM, schedule), train(wrong, schedule)) > 0


@pytest.mark.parametrize("mapping", ["first_roots", "frozen_roots", "scaled_alpha", "state_space", "riccati"])
def test_at_a_constant_rate_these_are_exact(mapping, train):
    assert (
        first_mismatch(train(MOMENTUM), train({"kind": "mapped_filter", "latent": MOMENTUM, "mapping": mapping}))
        is None
    )


def test_float32_decides_near_ties_either_way():
    """Open loop, so that one mismatch makes no others: a few of fifty million bits, the first at a known step."""
    num, steps, found = 400_000, 120, {}
    for dtype in (torch.float32, torch.float64):
        noise = torch.Generator().manual_seed(5)
        latent = torch.nn.Parameter((0.1 * torch.rand(num, generator=noise) - 0.05).to(dtype))
        bits = torch.nn.Parameter(latent.detach().clone())
        method, found[dtype] = build(METHODS, DECOUPLED), []
        optimizers = method.binary_optimizer([latent]), mapped_filter(method, [bits], "exact")
        for step in range(steps):
            latent.grad = bits.grad = torch.randn(num, generator=noise).to(dtype)
            for optimizer in optimizers:
                optimizer.step()
            found[dtype] += [step] * int((sign(latent.detach()) != bits).sum())
    assert not found[torch.float64]
    assert 0 < len(found[torch.float32]) < 1e-6 * steps * num
    assert 0 < found[torch.float32][0] < steps


def test_clipping_breaks_it_where_it_is_active_and_only_there(train):
    clipped = MOMENTUM | {"clip": True}
    mapped = {"kind": "mapped_filter", "latent": MOMENTUM}
    assert first_mismatch(train(clipped), train(mapped)) is None  # all |w| < 1
    large = {"init_scale": 64.0, "lr": 6.4, "weight_decay": 0.02 / 64}
    unclipped = train(MOMENTUM | large)
    assert first_mismatch(train(MOMENTUM), unclipped) is None
    assert first_mismatch(unclipped, train(clipped | large)) > 0
    masked = train(MOMENTUM | large, weight_gradient="clipped")
    assert first_mismatch(unclipped, masked) > 0


@pytest.mark.parametrize("scale", [0.25, 64.0])
@pytest.mark.parametrize(
    "row", [SGD, MOMENTUM, ROWS["torch sgd, nesterov"], DECOUPLED, ADAM, ADAMW], ids=lambda row: row["kind"]
)
def test_the_magnitude_has_no_meaning_bitwise_in_float32(row, scale, train):
    other = row | {"init_scale": scale, "lr": scale * row["lr"], "weight_decay": row["weight_decay"] / scale}
    assert torch.equal(train(row, "cosine", torch.float32), train(other, "cosine", torch.float32))
    moved = other | {"init_scale": 1.0}
    assert not torch.equal(train(row, "cosine", torch.float32), train(moved, "cosine", torch.float32))


@pytest.mark.parametrize(
    "variant",
    [
        {"kind": "birealnet", "depth": 8, "width": 4},
        {"kind": "birealnet", "depth": 18, "width": 2, "shortcut": "pad"},
        {"kind": "reactnet", "width": 2},
    ],
    ids=lambda variant: f"{variant['kind']}{variant.get('depth', '')}",
)
def test_nor_has_it_on_convolutions(variant):
    """Six steps of float32, bit for bit, of networks for CIFAR and ImageNet."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(6, 8, 3, 64, 64, generator=generator), torch.randint(3, (6, 8), generator=generator)
    histories = []
    for init_scale, lr, decay in ((1.0, 0.5, 0.02), (4.0, 2.0, 0.005), (1.0, 2.0, 0.005)):
        latent = SGD | {"momentum": 0.9, "init_scale": init_scale, "lr": lr, "weight_decay": decay}
        method = build(METHODS, latent)
        network = build(MODELS, variant | {"init_scale": 0.01}).build((3, 64, 64), 3, torch.Generator().manual_seed(1))
        optimizer = method.optimizer(method.prepare(network))
        history = [bits(network)]
        for x, y in zip(images, labels, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
            history.append(bits(network))
        histories.append(torch.stack(history))
    base, rescaled, moved = histories
    assert (base[1:] != base[:-1]).sum() > 10
    assert torch.equal(base, rescaled)
    assert not torch.equal(base, moved)


@pytest.mark.parametrize("row", ["sgd", "torch sgd", "adamw"])
def test_scaling_of_form_1_is_the_filter_to_the_last_bit_where_the_scale_is_dyadic(row, train):
    settings = {"scaling": "form_1_dyadic", "batch_norm_eps": 1e-30}
    latent, filtered = ROWS[row], {"kind": "mapped_filter", "latent": ROWS[row]}
    scaled = train(latent, "cosine", **settings)
    assert torch.equal(scaled, train(filtered, "cosine", **settings))
    assert torch.equal(scaled, train(latent, "cosine", batch_norm_eps=1e-30))  # and no scaling at all


def test_a_larger_start_does_nothing_but_delay_on_equal_gradients():
    """Bits differ only while (1−α)^t λ (s−1)|w_0| exceeds the inertia, and after the predicted steps none does."""
    num, steps, scale, alpha, decay = 2000, 1500, 64.0, 0.02, 0.2
    noise = torch.Generator().manual_seed(3)
    start = 0.1 * torch.rand(num, generator=noise, dtype=torch.float64) - 0.05
    parameters = [torch.nn.Parameter(factor * start) for factor in (1.0, scale)]
    filters = [GradientFilter([p], alpha, initial_inertia=decay) for p in parameters]
    small, large = parameters
    differing = []
    for step in range(1, steps + 1):
        small.grad = large.grad = torch.randn(num, generator=noise, dtype=torch.float64)
        for each in filters:
            each.step()
        left = (1 - alpha) ** step * decay * (scale - 1) * start.abs()
        differ = small != large
        assert (filters[0].state[small]["inertia"].abs()[differ] <= left[differ] * (1 + 1e-9)).all()
        differing.append(int(differ.sum()))
    assert max(differing) > num / 4
    deviation = (alpha / (2 - alpha)) ** 0.5  # of the inertia
    expected = decay * (scale - 1) * 0.05 * num / deviation  # bits that differ at first, if it were less
    faded = math.log(1000 * expected) / -math.log(1 - alpha)
    assert not any(differing[math.ceil(faded) :])
    assert any(differing[math.floor(faded / 2) :])


@pytest.mark.parametrize("scaling", ["form_1", "form_1_dyadic"])
def test_scaling_of_form_1_has_the_symmetry_of_no_scaling(scaling, train):
    settings = {"scaling": scaling, "batch_norm_eps": 1e-30}
    other = MOMENTUM | {"init_scale": 4.0, "lr": 0.4, "weight_decay": 0.005}
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(train(MOMENTUM, "cosine", dtype, **settings), train(other, "cosine", dtype, **settings))


def test_scaling_of_form_2_has_a_symmetry_of_its_own(train):
    tiny = {"batch_norm_eps": 1e-30}
    s = 4.0
    scaled = SGD | {"init_scale": s, "lr": s * 0.1, "weight_decay": 0.02 / s}
    own = SGD | {"init_scale": s, "lr": s**2 * 0.1, "weight_decay": 0.02 / s**2}
    form_2 = train(SGD, scaling="form_2", **tiny)
    assert first_mismatch(form_2, train({"kind": "mapped_filter", "latent": SGD}, scaling="form_2", **tiny)) is not None
    assert first_mismatch(form_2, train(scaled, scaling="form_2", **tiny)) is not None
    assert first_mismatch(form_2, train(own, scaling="form_2", **tiny)) is None


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_bop_without_threshold_is_the_first_order_filter(schedule, train):
    bop = {"kind": "bop", "gamma": 0.03, "threshold": 0.0, "real": REAL}
    order_1 = {"kind": "gradient_filter", "alpha": 0.03, "real": REAL}
    assert torch.equal(train(bop, schedule), train(order_1, schedule))
    assert not torch.equal(train(bop | {"threshold": 1e-4}, schedule), train(order_1, schedule))


def test_a_zero_start_is_the_limit_of_small_latent_weights(train):
    """What the released code does: latent training whose first weights are infinitely small."""
    latent = DECOUPLED | {"init_scale": 1e-12}
    filtered = {"kind": "gradient_filter", "alpha": 0.005, "gamma": 0.2, "real": REAL}
    a, b = train(latent, "cosine"), train(filtered, "cosine")
    assert torch.equal(a, b)
    assert (b[1] != b[0]).double().mean() == pytest.approx(0.5, abs=0.05)  # the first step sets every bit


def test_the_start_can_be_preset(train):
    filtered = {"kind": "gradient_filter", "alpha": 0.005, "gamma": 0.2, "real": REAL}
    preset = filtered | {"initial_state": "preset", "initial_inertia": 0.05}
    assert not torch.equal(train(preset), train(filtered))
    order_1 = {
        "kind": "gradient_filter",
        "alpha": 0.002,
        "initial_state": "preset",
        "initial_inertia": 0.02,
        "real": REAL,
    }
    assert torch.equal(train(SGD), train(order_1))


@pytest.mark.parametrize(
    "variant",
    [
        MOMENTUM,
        DECOUPLED | {"hold_rate": True},
        ADAM,
        ADAMW,
        {"kind": "bop", "gamma": 0.03, "real": REAL},
        {"kind": "gradient_filter", "alpha": 0.03, "gamma": 0.2, "delta": 0.5, "real": REAL},
        {"kind": "state_space_filter", "rate": 0.01, "momentum": 0.9, "real": REAL},
        {"kind": "mapped_filter", "latent": MOMENTUM},
        {"kind": "mapped_filter", "latent": ADAMW},
        {"kind": "mapped_filter", "latent": DECOUPLED | {"hold_rate": True}},
        {"kind": "mapped_filter", "latent": ROWS["torch sgd, nesterov, no decay"]},
    ],
    ids=lambda variant: variant["kind"],
)
def test_a_stack_of_binary_networks_is_its_seeds_alone(variant, train):
    steps = 60
    together = train(variant, "cosine", seeds=(0, 1, 2), steps=steps).view(steps + 1, -1)
    widths = [INPUTS * WIDTH, WIDTH * WIDTH]
    layers = together.split([3 * width for width in widths], 1)
    for position in range(3):
        alone = train(variant, "cosine", seeds=(position,), steps=steps)
        mine = torch.cat([layer.view(steps + 1, 3, -1)[:, position] for layer in layers], 1)
        assert torch.equal(mine, alone)
