from __future__ import annotations

import gc
import itertools
import weakref

import pytest
import torch
import torch.nn.functional as F

from boundcheck.curvature.hessian import HessianOperator, loss_and_gradient
from boundcheck.curvature.operator import dense


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize("cuts", [(0, 12), (0, 5, 6, 12)])
def test_the_operator_is_the_dense_hessian(tanh_loss, retain, cuts):
    on, theta = tanh_loss
    whole = on(0, 12)
    chunks = [on(i, j) for i, j in itertools.pairwise(cuts)]
    operator = HessianOperator(chunks, theta, retain)
    torch.testing.assert_close(dense(operator), torch.autograd.functional.hessian(whole, theta), rtol=0, atol=1e-14)
    torch.testing.assert_close(operator.gradient, torch.autograd.functional.jacobian(whole, theta), rtol=0, atol=1e-15)
    torch.testing.assert_close(operator.loss, whole(theta), rtol=0, atol=1e-15)
    loss, gradient = loss_and_gradient(chunks, theta)
    torch.testing.assert_close(gradient, operator.gradient, rtol=0, atol=0)
    torch.testing.assert_close(loss, operator.loss, rtol=0, atol=0)


def test_one_function_needs_no_list(tanh_loss):
    on, theta = tanh_loss
    assert torch.equal(HessianOperator(on(0, 12), theta).gradient, HessianOperator([on(0, 12)], theta).gradient)


def test_it_works_where_gradients_are_off_and_leaves_theta_alone(tanh_loss):
    on, theta = tanh_loss
    with torch.no_grad():
        operator = HessianOperator(on(0, 12), theta)
        product = operator.matvec(torch.ones_like(theta))
    assert not theta.requires_grad
    assert theta.grad is None
    assert not product.requires_grad
    assert not operator.gradient.requires_grad


def test_moving_theta_later_does_not_move_the_operator(tanh_loss):
    on, theta = tanh_loss
    vector, mine = torch.ones_like(theta), theta.clone()
    for retain in (True, False):
        operator = HessianOperator(on(0, 12), mine, retain)
        before = operator.matvec(vector)
        mine += 1
        assert torch.equal(operator.matvec(vector), before)


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize(
    ("loss", "matrix"),
    [
        (lambda t: 2 * t.sum(), torch.zeros(3, 3)),  # affine: no second derivative to differentiate
        (lambda t: (t @ t) / 2, torch.eye(3)),  # autograd returns v itself
        (lambda t: t.sum() ** 2 / 2, torch.ones(3, 3)),  # autograd expands a scalar
        (lambda t: t[0] ** 2 / 2, torch.diag(torch.tensor([1.0, 0, 0]))),
    ],
)
def test_losses_whose_graph_is_degenerate(loss, matrix, retain):
    operator = HessianOperator(loss, torch.tensor([1.0, 2, 3]), retain)
    assert torch.equal(dense(operator), matrix)
    vector = torch.tensor([1.0, -2, 4])
    product = operator.matvec(vector)
    product += 1
    assert torch.equal(vector, torch.tensor([1.0, -2, 4]))


def test_no_chunk_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        HessianOperator([], torch.zeros(2))


def test_the_graph_dies_with_the_operator(tanh_loss):
    on, theta = tanh_loss
    gc.disable()
    try:
        operator = HessianOperator(on(0, 12), theta)
        operator.matvec(torch.ones_like(theta))
        graph = weakref.ref(operator._graphs[0])
        assert graph() is not None
        del operator
        assert graph() is None
    finally:
        gc.enable()


def test_convolution_and_batch_norm_statistics():
    draw = torch.Generator().manual_seed(2)
    images = torch.randn(6, 1, 5, 5, dtype=torch.float64, generator=draw)
    mean, variance = torch.randn(3, dtype=torch.float64, generator=draw), torch.ones(3, dtype=torch.float64) * 2

    def loss(theta):
        kernel, scale, shift = theta[:27].view(3, 1, 3, 3), theta[27:30], theta[30:33]
        x = F.batch_norm(F.conv2d(images, kernel), mean, variance, scale, shift, training=False)
        return F.softplus(x).square().mean()

    theta = torch.randn(33, dtype=torch.float64, generator=draw)
    expected = torch.autograd.functional.hessian(loss, theta)
    torch.testing.assert_close(dense(HessianOperator(loss, theta)), expected, rtol=0, atol=1e-13)
