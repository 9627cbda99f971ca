"""What is recorded of a weight-normalised network's training, seen through steps that are written out."""

from __future__ import annotations

import math

import pytest
import torch

from boundcheck.callbacks.curve import Curve
from boundcheck.callbacks.weight_norm import WeightNormRecorder, normalised_rows
from boundcheck.models import MLP, WeightNormed, WeightNormMLP
from boundcheck.models.stacking import stack
from boundcheck.objectives import Square
from boundcheck.theory.weight_norm.training import descent_bound, smoothness_along_step

LR, NUM = 0.7, 12


class Training:
    """Full-batch gradient descent on a stack of networks, as the loop shows it to a callback."""

    def __init__(self, model, num):
        self.model, self.num = model, num
        self.curve, self.step, self.epoch = Curve(range(num)), 0, 0.0
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(NUM, 6, generator=generator, dtype=torch.float64)
        self.batch = x * math.sqrt(6) / x.norm(dim=1, keepdim=True), torch.randint(3, (NUM,), generator=generator)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        self.losses = torch.zeros(num)

    def gradient(self):
        return torch.cat([p.grad.reshape(self.num, -1) for p in self.model.parameters()], 1)

    def advance(self, *callbacks):
        self.optimizer.zero_grad()
        losses = Square().losses(self.model(self.batch[0]), self.batch[1])
        losses.sum().backward()
        self.losses = losses.detach().reshape(-1)
        self.optimizer.step()
        for callback in callbacks:
            callback.on_step(self)
        self.step += 1
        self.epoch += 1

    def rows(self):
        columns = self.curve.columns([None] * self.num)
        keys = zip(columns["quantity"], columns["step"], columns["index"], columns["seed"], strict=True)
        return dict(zip(keys, columns["value"], strict=True))


def networks(num, **settings):
    model = WeightNormMLP(**({"depth": 2, "width": 5} | settings))
    return [model.build((6,), 3, torch.Generator().manual_seed(i)).double() for i in range(num)]


@pytest.mark.parametrize("settings", [{}, {"gains": "trainable"}, {"normalised": False}], ids=str)
@pytest.mark.parametrize("num", [1, 3])
def test_records_the_network_and_the_step_that_follows(settings, num):
    alone = networks(num, **settings)
    training = Training(stack(alone) if num > 1 else alone[0], num)
    recorder, losses = WeightNormRecorder(), []
    for step in range(4):
        if step in (0, 2):
            recorder.on_epoch(training)
        training.advance(recorder)
        losses.append(training.losses)
    rows = training.rows()
    for seed, network in enumerate(networks(num, **settings)):
        for index, layer in enumerate(network.layers, 1):
            norms = layer.weight.detach().norm(dim=1)
            assert rows["row_norm_min", 0, index, seed] == pytest.approx(norms.min().item())
            assert rows["row_norm_mean", 0, index, seed] == pytest.approx(norms.mean().item())
            assert rows["row_norm_low", 0, index, seed] == pytest.approx(norms.quantile(0.1).item())
            assert rows["row_norm_high", 0, index, seed] == pytest.approx(norms.quantile(0.9).item())
        assert rows["output_norm", 0, -1, seed] == pytest.approx(torch.linalg.matrix_norm(network.output, 2).item())
        loss = Square().losses(network(training.batch[0]), training.batch[1])
        loss.backward()
        norms = [layer.weight.grad.norm() for layer in [*network.layers, network.last]]
        if settings.get("gains"):
            norms[:2] = [
                torch.hypot(n, layer.gain.grad.norm()) for n, layer in zip(norms, network.layers, strict=False)
            ]
        theory = network.theory()
        lr = torch.tensor(LR, dtype=torch.float64)
        beta = smoothness_along_step(theory, theory.output, math.sqrt(6), lr, norms, loss.detach().sqrt())
        assert rows["smoothness", 0, -1, seed] == pytest.approx(beta.item(), rel=1e-10)
        assert rows["step_size", 0, -1, seed] == LR
        total = math.sqrt(sum(n.item() ** 2 for n in norms))
        assert rows["gradient_norm_total", 0, -1, seed] == pytest.approx(total)
        assert rows["certified_lr", 0, -1, seed] > 0
        assert losses[1][seed] <= descent_bound(loss.item(), total, LR, beta.item())
    recorded = {step for quantity, step, _, _ in rows if quantity == "smoothness"}
    assert recorded == {0, 2}


def test_state_goes_through_a_checkpoint():
    first, second = (Training(networks(1)[0], 1) for _ in range(2))
    recorder, resumed = WeightNormRecorder(), WeightNormRecorder()
    recorder.on_epoch(first)
    resumed.load_state_dict(recorder.state_dict())
    first.advance(recorder)
    second.advance(resumed)
    key = ("smoothness", 0, -1, 0)
    assert first.rows()[key] == second.rows()[key]
    assert recorder.state_dict() == {"before": {}}


def test_other_networks_have_row_norms_where_they_have_rows():
    plain = MLP(depth=1, width=4).build((6,), 3, torch.Generator())
    assert normalised_rows(plain) == []
    network = WeightNormed(base={"kind": "mlp", "depth": 1, "width": 4}).build((6,), 3, torch.Generator()).double()
    training, recorder = Training(network, 1), WeightNormRecorder()
    recorder.on_epoch(training)
    training.advance(recorder)
    recorder.on_epoch(training)
    rows = training.rows()
    assert {quantity for quantity, *_ in rows} == {"row_norm_min", "row_norm_mean", "row_norm_low", "row_norm_high"}
    assert rows["row_norm_min", 1, 1, 0] > rows["row_norm_min", 0, 1, 0]
