from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from boundcheck.analyses.flat_loss import flat_loss, recompute_batch_norm
from boundcheck.contracts import Split
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.models import MODELS, ViT
from boundcheck.objectives import Reconstruction, Square
from boundcheck.registry import build


@pytest.mark.parametrize("network", ["mlp", "convolution"])
@pytest.mark.parametrize("chunk_size", [None, 1, 7, 20, 50])
def test_the_chunks_sum_to_the_mean_loss(network, chunk_size, objective, train, loss_of, request):
    model = request.getfixturevalue(network)
    losses, theta = flat_loss(model, objective, train, chunk_size, torch.float64)
    expected, parameters = loss_of(copy.deepcopy(model).eval(), objective, train)
    assert len(losses) == -(-20 // (chunk_size or 20))
    assert torch.equal(theta, parameters)
    for point in (theta, theta + 0.1):
        torch.testing.assert_close(sum(loss(point) for loss in losses), expected(point), rtol=1e-14, atol=0)


def test_the_model_is_copied_not_touched(convolution, objective, train):
    convolution.train()
    before = copy.deepcopy(convolution.state_dict())
    random_state = torch.get_rng_state()
    for mode in ("eval", "train", "recompute"):
        losses, theta = flat_loss(convolution, objective, train, dtype=torch.float64, batch_norm=mode)
        theta = theta.requires_grad_()
        losses[0](theta).backward()
    assert all(torch.equal(value, before[name]) for name, value in convolution.state_dict().items())
    assert convolution[1].training
    assert all(p.grad is None and p.dtype == torch.float32 for p in convolution.parameters())
    assert torch.equal(random_state, torch.get_rng_state())


def test_training_the_model_later_does_not_move_the_loss(mlp, objective, train):
    losses, theta = flat_loss(mlp, objective, train)
    before = losses[0](theta)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.add_(1)
    assert torch.equal(losses[0](theta), before)


def test_batch_norm_modes_are_what_they_say(convolution, objective, train, loss_of):
    def measured(mode):
        losses, theta = flat_loss(convolution, objective, train, dtype=torch.float64, batch_norm=mode)
        return losses[0](theta), losses[0](theta)

    def expected(mode):
        loss, theta = loss_of(copy.deepcopy(convolution).train(mode == "train"), objective, train)
        return loss(theta)

    for mode in ("eval", "train"):
        first, second = measured(mode)
        torch.testing.assert_close(first, expected(mode), rtol=1e-14, atol=0)
        assert torch.equal(first, second)  # evaluating moves no statistics
    recomputed, _ = measured("recompute")
    n = 20 * 2 * 2  # the running variance divides by n − 1 where training divides by n
    assert recomputed == pytest.approx(expected("train").item(), rel=2 / n)
    assert abs(recomputed - expected("eval")) > 1e-3


def test_dropout_is_off_in_every_mode(objective, train):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))
    for mode in ("eval", "train", "recompute"):
        losses, theta = flat_loss(model.train(), objective, train, batch_norm=mode)
        assert torch.equal(losses[0](theta), losses[0](theta))


def test_frozen_parameters_stay(mlp, objective, train):
    whole = sum(p.numel() for p in mlp.parameters())
    mlp[1].weight.requires_grad_(False)
    losses, theta = flat_loss(mlp, objective, train)
    assert len(theta) == whole - 48
    torch.testing.assert_close(losses[0](theta), objective.losses(mlp(train.inputs), train.labels))


def test_a_reparametrised_layer_is_differentiated_in_its_own_coordinates(train, objective):
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(16, 3)))
    losses, theta = flat_loss(model, objective, train)
    assert len(theta) == 48 + 3 + 3
    torch.testing.assert_close(losses[0](theta), objective.losses(model(train.inputs), train.labels))
    (gradient,) = torch.autograd.grad(losses[0](theta.requires_grad_()), theta)
    assert gradient.isfinite().all()


def test_targets_follow_the_dtype(train):
    coder = nn.Sequential(nn.Flatten(), nn.Linear(16, 16))
    losses, theta = flat_loss(coder, Reconstruction(), train, 6, torch.float64)
    expected = (coder.double()(train.inputs.double()) - train.inputs.double().flatten(1)).square().sum() / 40
    torch.testing.assert_close(sum(loss(theta) for loss in losses), expected)
    losses, theta = flat_loss(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), Square(), train, 6, torch.float64)
    assert losses[0](theta).dtype == torch.float64


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"chunk_size": 0}, "chunk_size: got 0"), ({"batch_norm": "off"}, "batch_norm: got 'off'")],
)
def test_settings_that_make_no_sense_are_rejected(mlp, objective, train, wrong, message):
    with pytest.raises(ValueError, match=message):
        flat_loss(mlp, objective, train, **wrong)


def test_no_example_is_an_error(mlp, objective, train):
    with pytest.raises(ValueError, match="no example"):
        flat_loss(mlp, objective, Split(train.inputs[:0], train.labels[:0]))


def test_recomputed_statistics_are_the_averages_of_equal_batches(convolution, train):
    convolution[1].train()
    with torch.no_grad():
        features = convolution[0](train.inputs)
    recompute_batch_norm(convolution, train.inputs, 20)
    norm = convolution[1]
    torch.testing.assert_close(norm.running_mean, features.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, features.var((0, 2, 3)))
    recompute_batch_norm(convolution, train.inputs, 8)  # three batches of 7, 7 and 6
    parts = features.tensor_split(3)
    torch.testing.assert_close(norm.running_mean, torch.stack([p.mean((0, 2, 3)) for p in parts]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([p.var((0, 2, 3)) for p in parts]).mean(0))
    assert norm.training
    assert norm.momentum == 0.1


def test_recomputing_keeps_the_mode_of_every_module(convolution, train):
    convolution.train()
    convolution[0].eval()
    recompute_batch_norm(convolution, train.inputs, 5)
    assert [module.training for module in convolution] == [False, True, True, True, True, True]
    convolution.eval()
    recompute_batch_norm(convolution, train.inputs, 5)
    assert not any(module.training for module in convolution.modules())


def test_recomputing_sees_the_network_as_it_is_evaluated(train):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(16)).train()
    recompute_batch_norm(model, train.inputs, 20)
    torch.testing.assert_close(model[2].running_mean, train.inputs.flatten(1).mean(0))


def test_fused_attention_has_second_derivatives_here(objective, generator):
    images = torch.randn(6, 1, 14, 14, generator=generator)
    data = Split(images, torch.arange(6) % 3)
    products = []
    for attention in ("explicit", "fused"):
        vit = ViT(patch=7, dim=12, depth=2, heads=3, zero_head=False, attention=attention)
        model = vit.build((1, 14, 14), 3, torch.Generator().manual_seed(0))
        losses, theta = flat_loss(model, objective, data, dtype=torch.float64)
        products.append(HessianOperator(losses, theta).matvec(torch.ones_like(theta)))
    torch.testing.assert_close(*products, rtol=1e-9, atol=1e-9)


def test_batch_norm_modes_know_the_layers_of_binary_networks(objective, train, generator):
    model = build(MODELS, {"kind": "binary_mlp", "depth": 1, "width": 6}).build(train.inputs.shape[1:], 10, generator)
    kept = copy.deepcopy(model.norms[0].running_mean)
    found = {}
    for mode in ("eval", "train", "recompute"):
        (loss,), theta = flat_loss(model, objective, train, dtype=torch.float64, batch_norm=mode)
        found[mode] = loss(theta).item()
    assert found["train"] != found["eval"] != found["recompute"]
    assert torch.equal(model.norms[0].running_mean, kept)
    recompute_batch_norm(model, train.inputs, 8)
    features = model.layers[0](train.inputs.flatten(1))
    torch.testing.assert_close(
        model.norms[0].running_mean, torch.stack([p.mean(0) for p in features.tensor_split(3)]).mean(0)
    )
