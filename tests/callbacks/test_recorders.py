"""What each recorder records, seen through a training that is written out."""

import torch

from boundcheck.callbacks import CALLBACKS
from boundcheck.callbacks.curve import Curve
from boundcheck.registry import load


class FakeTraining:
    def __init__(self):
        self.curve = Curve([0, 1])
        self.step, self.epoch = 5, 2.5
        self.losses = torch.tensor([1.0, 2.0])

    def evaluate(self, split):
        offset = 0.0 if split == "train" else 10.0
        return torch.tensor([offset, offset + 1]), torch.tensor([0.25, 0.5])

    def gradient(self):
        return torch.tensor([[3.0, 4.0], [6.0, 8.0]])


def recorded(name):
    training, callback = FakeTraining(), load(CALLBACKS, name)()
    callback.on_step(training)
    callback.on_epoch(training)
    columns = training.curve.columns([None, None])
    assert set(columns["step"]) == {5}
    assert set(columns["epoch"]) == {2.5}
    keys = zip(columns["quantity"], columns["seed"], strict=True)
    return callback, dict(zip(keys, columns["value"], strict=True))


def test_loss():
    callback, rows = recorded("loss")
    assert rows == {("train_loss", 0): 1.0, ("train_loss", 1): 2.0}
    assert not callback.needs_gradient


def test_accuracy():
    _, rows = recorded("accuracy")
    assert rows["full_train_loss", 1] == 1.0
    assert rows["test_loss", 1] == 11.0
    assert rows["train_accuracy", 0] == rows["test_accuracy", 0] == 0.25
    assert len(rows) == 8


def test_gradient_norm():
    callback, rows = recorded("gradient_norm")
    assert rows == {("gradient_norm", 0): 5.0, ("gradient_norm", 1): 10.0}
    assert callback.needs_gradient
