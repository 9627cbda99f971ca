"""What is recorded of binary weights: bits, flips, and the filters that run beside a latent training."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from boundcheck.callbacks import CALLBACKS
from boundcheck.callbacks.bits import pack
from boundcheck.callbacks.curve import Curve
from boundcheck.callbacks.filter_replay import MAPPINGS
from boundcheck.methods import METHODS
from boundcheck.models.binary_layers import binary_parameters, sign
from boundcheck.models.binary_mlp import BinaryMLP
from boundcheck.models.stacking import stack
from boundcheck.registry import build

REAL = {"kind": "adamw", "lr": 0.01}
LATENT = {"kind": "latent_sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.02, "real": REAL}
K, STEPS_PER_EPOCH = 2, 5


class Training:
    """k small binary networks on noise."""

    def __init__(self, variant, dtype=torch.float64):
        method = build(METHODS, variant)
        nets = [BinaryMLP(2, 6, init_scale=0.02).build((7,), 3, torch.Generator().manual_seed(i)) for i in range(K)]
        self.model = method.prepare(stack(nets)).to(dtype)
        self.optimizer = method.optimizer(self.model, K)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.curve, self.step = Curve(list(range(K))), 0
        self.noise = torch.Generator().manual_seed(0)
        self.history = [self.signs()]

    @property
    def epoch(self):
        return self.step / STEPS_PER_EPOCH

    def signs(self):
        return torch.cat([sign(p.detach()).flatten(1) for p in binary_parameters(self.model)], 1)

    def run(self, callback, steps, factor=lambda step: 1.0):
        """Steps as the loop makes them."""
        if self.step == 0:
            callback.on_epoch(self)
        for _ in range(steps):
            inputs = torch.randn(20, 7, generator=self.noise, dtype=torch.float64)
            labels = torch.randint(3, (20,), generator=self.noise)
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor(self.step)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(inputs).flatten(0, 1), labels.repeat(K)).backward()
            self.optimizer.step()
            callback.on_step(self)
            self.history.append(self.signs())
            self.step += 1
            if self.step % STEPS_PER_EPOCH == 0:
                callback.on_epoch(self)

    def rows(self, quantity):
        """{(step, index): values (k,)}."""
        columns = self.curve.columns([None] * K)
        found = {}
        for name, step, index, value in zip(*(columns[c] for c in ("quantity", "step", "index", "value")), strict=True):
            if name == quantity:
                found.setdefault((step, index), []).append(value)
        return found


def made(kind, **settings):
    return build(CALLBACKS, {"kind": kind, **settings})


@pytest.mark.parametrize("every", [1, 4])
def test_bits_are_the_signs_of_the_weights(every):
    training, callback = Training(LATENT), made("bits", every=every)
    training.run(callback, 12)
    arrays = callback.arrays()
    assert arrays["steps"].tolist() == [list(range(0, 13, every))] * K
    assert arrays["num_weights"].tolist() == [7 * 6 + 6 * 6] * K
    for i in range(K):
        unpacked = np.unpackbits(arrays["bits"][i].numpy(), axis=1, count=78, bitorder="little")
        expected = torch.stack(training.history)[::every, i]
        assert np.array_equal(2.0 * unpacked - 1, expected.numpy())


def test_packing_fills_the_last_byte():
    bits = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 1, 1, 1], [0] * 10], dtype=torch.bool)
    assert pack(bits).tolist() == [[129, 3], [0, 0]]


def test_flips_are_counted_by_layer():
    training, callback = Training(LATENT), made("flip_ratio")
    training.run(callback, 10)
    history = torch.stack(training.history)
    flips = (history[1:] != history[:-1]).double().view(2, 5, K, -1).mean(1)  # (epochs, k, n)
    found = training.rows("flip_ratio")
    for epoch in range(2):
        step = 5 * (epoch + 1)
        assert found[step, -1] == pytest.approx(flips[epoch].mean(1).tolist())
        assert found[step, 0] == pytest.approx(flips[epoch, :, :42].mean(1).tolist())
        assert found[step, 1] == pytest.approx(flips[epoch, :, 42:].mean(1).tolist())
    assert len(found) == 6
    assert training.rows("first_flip_ratio")[1, -1] == (history[1] != history[0]).double().mean(1).tolist()
    assert training.rows("flipped_share")[10, -1] == (history[10] != history[0]).double().mean(1).tolist()
    largest = torch.cat([p.detach().flatten(1) for p in binary_parameters(training.model)], 1).abs().amax(1)
    assert all(a >= b for a, b in zip(training.rows("largest_latent")[10, -1], largest.tolist(), strict=True))
    assert all(0 < value < 1 for value in training.rows("gradient_rms")[5, -1])


@pytest.mark.parametrize("factor", [lambda step: 1.0, lambda step: 1 / (1 + step / 10)], ids=["constant", "decaying"])
def test_replayed_filters_are_exact_where_the_theory_says_so(factor):
    training, callback = Training(LATENT), made("filter_replay")
    training.run(callback, 60, factor)
    wrong = training.rows("bits_wrong")
    total = {name: sum(sum(wrong[5 * (e + 1), i]) for e in range(12)) for i, name in enumerate(MAPPINGS)}
    assert total["state_space"] == total["riccati"] == 0
    constant = factor(10) == 1
    for name in ("first_roots", "frozen_roots", "scaled_alpha"):
        assert (total[name] == 0) == constant, name
    assert min(total[name] for name in ("scaled_alpha_no_momentum", "small_rates", "product", "zero_start")) > 0
    assert total["product"] > total["small_rates"]


@pytest.mark.parametrize("kind", ["bits", "flip_ratio", "filter_replay"])
def test_a_checkpoint_loses_nothing(kind):
    whole, callback = Training(LATENT), made(kind)
    whole.run(callback, 17)
    part, first, second = Training(LATENT), made(kind), made(kind)
    part.run(first, 8)
    second.load_state_dict(first.state_dict())
    part.run(second, 9)
    if kind == "bits":
        assert all(torch.equal(a, b) for a, b in zip(callback.arrays().values(), second.arrays().values(), strict=True))
    else:
        assert whole.curve.columns([None] * K)["value"] == part.curve.columns([None] * K)["value"]
