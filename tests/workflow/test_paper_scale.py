"""Every model and method that config/paper.yaml names can be built, and takes one step on two images."""

import math

import pytest
import torch

from boundcheck.grid import make_plan
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.objectives import CrossEntropy
from boundcheck.registry import build
from boundcheck.stages.cell import settings_of

SHAPES = {"cifar10": ((3, 32, 32), 10), "cifar100": ((3, 32, 32), 100), "imagenet": ((3, 224, 224), 1000)}
PLAN = make_plan(["config/config.yaml", "config/paper.yaml"])
BY_MODEL = {batch.model: batch for batch in PLAN.batches.values()}
BY_METHOD = {batch.method: batch for batch in PLAN.batches.values()}


def one_step(model_variant, method_variant, shape, num_classes):
    """The loss before and after a step, without the step's randomness: two images, training mode."""
    generator = torch.Generator().manual_seed(0)
    model = build(MODELS, model_variant).build(shape, num_classes, generator)
    method = build(METHODS, method_variant)
    model = method.prepare(model)
    optimizer = method.optimizer(model)
    images, labels = torch.randn(2, *shape, generator=generator), torch.tensor([0, num_classes - 1])
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def closure():
        optimizer.zero_grad()
        loss = CrossEntropy(0.1).losses(model(images), labels)
        if not method.second_order:
            loss.backward()
        return loss

    loss = optimizer.step(closure)
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    return loss.item(), sum(moved) / len(moved)


def test_the_grid_names_what_is_tested():
    assert set(SHAPES) == {batch.dataset for batch in PLAN.batches.values()}


@pytest.mark.parametrize("name", sorted(BY_MODEL))
def test_every_model_takes_a_step(name):
    batch = BY_MODEL[name]
    loss, moved = one_step(settings_of(batch.train["model"]), {"kind": "sgd", "lr": 0.01}, *SHAPES[batch.dataset])
    assert loss == pytest.approx(math.log(SHAPES[batch.dataset][1]), rel=0.6)
    # a vision transformer's head starts at zero, so only the head moves in the first step
    assert moved > 0.95 or (batch.train["model"]["kind"] == "vit" and moved > 0)


@pytest.mark.parametrize("name", sorted(BY_METHOD))
def test_every_method_takes_a_step(name):
    small = {"kind": "resnet", "depth": 8, "width": 4}
    loss, moved = one_step(small, settings_of(BY_METHOD[name].train["method"]), (3, 32, 32), 10)
    assert math.isfinite(loss)
    assert moved == 1
