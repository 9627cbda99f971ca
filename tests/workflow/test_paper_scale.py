"""Every model and method that config/paper.yaml names can be built, and takes one step on two images."""

import math

import pytest
import torch

from boundcheck.cells.resolved import settings_of, view_of
from boundcheck.contracts import Split
from boundcheck.data import DATASETS
from boundcheck.data.sizes import Sizes
from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.objectives import build_objective
from boundcheck.planning.grid import make_plan
from boundcheck.registry import build
from boundcheck.settings import TrainingSettings

FOLDER = Sizes((3, 224, 224), 1000)  # ImageNet, whose counts only its folder knows
SMALL = {
    "gam": {"kind": "resnet", "depth": 8, "width": 4},
    "weight_norm": {"kind": "weight_norm_mlp", "depth": 2, "width": 8},
    "binary_filter": {"kind": "binary_mlp", "depth": 1, "width": 8},
    "dag_momentum": {"kind": "autoencoder", "code": 2, "widths": [4]},
}
PLAN = make_plan(["config/config.yaml", "config/paper.yaml"])
BY_MODEL = {(batch.study, batch.model): batch for batch in PLAN.batches.values()}
BY_METHOD = {(batch.study, batch.method): batch for batch in PLAN.batches.values()}


def one_step(batch, model_variant, method_variant):
    """The loss, and the share of the parameters that a step on two images moves, in training mode."""
    generator = torch.Generator().manual_seed(0)
    dataset = batch.train["dataset"]
    sizes = build(DATASETS, settings_of(dataset)).sizes
    shape, num_classes, *_ = view_of(dataset).sizes(sizes if sizes.num_classes else FOLDER)
    num_outputs = math.prod(shape) if batch.train["training"]["loss"] == "reconstruction" else num_classes
    objective = build_objective(
        TrainingSettings(**batch.train["training"]), lambda inputs: torch.zeros(len(inputs), num_classes)
    )
    method = build(METHODS, method_variant)
    model = method.prepare(build(MODELS, model_variant).build(shape, num_outputs, generator))
    optimizer = method.optimizer(model)
    images = Split(torch.randn(2, *shape, generator=generator), torch.tensor([0, num_classes - 1]))
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def closure():
        optimizer.zero_grad()
        loss = objective.losses(model(images.inputs), objective.targets(images))
        if not method.second_order:
            loss.backward()
        return loss

    loss = optimizer.step(closure)
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    return loss.item(), sum(moved) / len(moved)


def ids(keys):
    return ["/".join(key) for key in keys]


@pytest.mark.parametrize("key", sorted(BY_MODEL), ids=ids(sorted(BY_MODEL)))
def test_every_model_takes_a_step(key):
    batch = BY_MODEL[key]
    loss, moved = one_step(batch, settings_of(batch.train["model"]), {"kind": "sgd", "lr": 0.01})
    assert math.isfinite(loss)
    # a vision transformer's head starts at zero, so only the head moves; of binary layers some are clipped at first
    at_least = 0.95 if key[0] in ("gam", "dag_momentum") and batch.train["model"]["kind"] != "vit" else 0.0
    assert moved > at_least


@pytest.mark.parametrize("key", sorted(BY_METHOD), ids=ids(sorted(BY_METHOD)))
def test_every_method_takes_a_step(key):
    batch = BY_METHOD[key]
    loss, moved = one_step(batch, SMALL[key[0]], settings_of(batch.train["method"]))
    assert math.isfinite(loss)
    assert moved > (0.0 if key[0] == "binary_filter" else 0.95)  # a step need not flip a bit in every layer
