"""∇L and ∇‖∇L‖ of a mini-batch through a closure, against dense derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from boundcheck.methods.landscape import Landscape
from boundcheck.models import ViT


@pytest.fixture
def landscape_of(make_network):
    def of(second_order):
        network = make_network("gelu")
        groups = [{"params": list(network.model.parameters())}]
        optimizer = torch.optim.SGD(groups, lr=0.0)
        optimizer.second_order = second_order
        with torch.no_grad():
            return Landscape(network.closure(optimizer), groups, second_order=second_order), network

    return of


def close(found, expected):
    torch.testing.assert_close(found, expected.view_as(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("second_order", [False, True])
def test_gradients(landscape_of, second_order):
    landscape, network = landscape_of(second_order)
    theta = network.theta()
    assert torch.equal(landscape.theta, theta.view(1, -1))
    close(landscape.loss, network.loss(theta))
    close(landscape.gradient, network.gradient(theta))
    step = torch.randn_like(theta)
    with torch.no_grad():
        landscape.move_by(step.view(1, -1))
        landscape.move_along(step.view(1, -1), 0.5)
        found = landscape.gradient_here().clone()
        other = network.theta()
        close(other, theta + step + 0.5 * step / step.norm())
        landscape.move_back()
        close(landscape.gradient_here(), landscape.gradient.flatten())
        landscape.move_by(step.view(1, -1), -2)
        landscape.restore()
    close(found, network.gradient(other))
    assert torch.equal(network.theta(), theta)


def test_settling_moves_the_start(landscape_of):
    landscape, network = landscape_of(False)
    expected = network.theta() + 1
    with torch.no_grad():
        landscape.move_by(torch.ones_like(landscape.theta))
        landscape.settle()
        landscape.restore()
    assert torch.equal(network.theta(), expected)


def test_gradients_of_the_gradient_norm(landscape_of):
    landscape, network = landscape_of(True)
    theta = network.theta()
    step = torch.randn_like(theta)

    def norm_gradient(theta):
        theta = theta.requires_grad_()
        gradient = torch.autograd.grad(network.loss(theta), theta, create_graph=True)[0]
        return torch.autograd.grad(gradient.norm(), theta)[0]

    with torch.no_grad():
        here = landscape.norm_gradient().clone()
        landscape.move_by(step.view(1, -1))
        there = landscape.norm_gradient_here()
    close(here, norm_gradient(theta))
    close(there, norm_gradient(theta.detach() + step))


def test_a_loss_without_curvature_has_no_slope():
    x, y = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    groups = [{"params": [x, y]}]
    with torch.no_grad():
        flat = Landscape(lambda: 2 * x.sum() + y.sum(), groups, second_order=True)
        assert flat.norm_gradient().tolist() == [[0, 0, 0, 0, 0]]
        half = Landscape(lambda: 2 * x.sum() + y.pow(2).sum(), groups, second_order=True, layout=flat.layout)
        slope = half.norm_gradient()
    assert slope[0, :3].tolist() == [0, 0, 0]
    torch.testing.assert_close(slope[0, 3:], 2 * half.gradient[0, 3:] / half.gradient.norm())


class Dot(torch.autograd.Function):
    """x·y whose derivatives are the very tensors y and x, with no multiplication by what comes from above."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x @ y

    @staticmethod
    def backward(ctx, _):
        x, y = ctx.saved_tensors
        return y, x


def test_a_product_may_hand_back_a_piece_of_what_it_is_given():
    """The Hessian of x·y swaps its two halves: the result must not overwrite what is still to be read."""
    x, y = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0, 5.0]))
    with torch.no_grad():
        landscape = Landscape(lambda: Dot.apply(x, y), [{"params": [x, y]}], second_order=True)
        assert landscape.gradient.tolist() == [[3, 5, 1, 2]]
        slope = landscape.norm_gradient()
    torch.testing.assert_close(slope[0], torch.tensor([1.0, 2.0, 3.0, 5.0]) / 39**0.5)


def test_spread_gives_each_coordinate_the_number_of_its_group():
    x, y, z = (nn.Parameter(torch.ones(2, n)) for n in (3, 1, 2))
    groups = [{"params": [x]}, {"params": [y, nn.Parameter(torch.ones(2, 9))]}, {"params": [z]}]

    def closure():
        loss = (x.sum() + y.sum() + z.sum()).square()
        loss.backward()
        return loss

    with torch.no_grad():
        landscape = Landscape(closure, groups, num_stacked=2)
    assert landscape.spread([0.5, 0.5, 0.5]) == 0.5
    assert landscape.spread([None, None, None]) is None
    assert landscape.spread([1.0, 2.0, 3.0]).tolist() == [1, 1, 1, 2, 3, 3]


def test_the_graph_of_fused_attention_has_second_derivatives():
    images = torch.randn(5, 1, 14, 14, generator=torch.Generator().manual_seed(1))
    gradients = []
    for attention in ("explicit", "fused"):
        vit = ViT(patch=7, dim=12, depth=2, heads=3, zero_head=False, attention=attention)
        model = vit.build((1, 14, 14), 3, torch.Generator().manual_seed(0)).double()
        groups = [{"params": list(model.parameters())}]
        with torch.no_grad():
            landscape = Landscape(lambda model=model: model(images.double()).square().mean(), groups, second_order=True)
            gradients.append(landscape.norm_gradient().clone())
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
