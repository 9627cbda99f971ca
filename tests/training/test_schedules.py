import math

import pytest

from boundcheck.settings import TrainingSettings
from boundcheck.training.schedules import lr_factor


def factors(steps_per_epoch=10, **changes):
    training = TrainingSettings(epochs=4, **changes)
    return [lr_factor(training, step, steps_per_epoch) for step in range(4 * steps_per_epoch)]


def test_constant():
    assert factors() == [1.0] * 40


def test_cosine_goes_from_one_to_the_final_factor():
    values = factors(lr_schedule="cosine", final_lr_factor=0.1)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * t / 40)) / 2 for t in range(40)]
    assert values == pytest.approx(expected, abs=1e-15)


def test_linear():
    assert factors(lr_schedule="linear") == pytest.approx([1 - t / 40 for t in range(40)])


def test_step_drops_at_its_epochs():
    values = factors(lr_schedule="step", step_epochs=[1, 3], step_factor=0.1)
    assert values[9] == 1
    assert values[10] == pytest.approx(0.1)
    assert values[29] == pytest.approx(0.1)
    assert values[30] == pytest.approx(0.01)


def test_warmup_rises_linearly_and_reaches_one():
    values = factors(lr_schedule="cosine", warmup_epochs=0.5)
    assert values[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_per_epoch_update_is_constant_within_an_epoch():
    values = factors(lr_schedule="cosine", lr_update="epoch")
    assert len(set(values[:10])) == 1
    assert values[10] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
