"""The activations' derivatives and their bounds, against automatic differentiation and a fine grid."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from boundcheck.theory.weight_norm.activation import SMOOTH, smooth_activation

MODULES = {"tanh": nn.Tanh(), "gelu": nn.GELU(), "softplus": nn.Softplus(), "silu": nn.SiLU()}
everything = pytest.mark.parametrize("name", SMOOTH)


@everything
def test_is_what_networks_use(name):
    z = torch.linspace(-15, 15, 301, dtype=torch.float64)
    torch.testing.assert_close(SMOOTH[name].value(z), MODULES[name](z), rtol=1e-12, atol=1e-15)


@everything
def test_derivatives(name):
    z = torch.linspace(-8, 8, 101, dtype=torch.float64)
    phi = SMOOTH[name]
    torch.testing.assert_close(phi.slope(z), vmap(grad(phi.value))(z), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(phi.bend(z), vmap(grad(grad(phi.value)))(z), rtol=1e-10, atol=1e-12)


@everything
@pytest.mark.parametrize("h", [0.0, 0.1, 0.658, 0.66, 1.4, 1.5, 2.38, 2.41, 5.0, 40.0])
def test_suprema_bound_and_are_near_what_a_grid_finds(name, h):
    phi, z = SMOOTH[name], torch.linspace(-h, h, 20_001, dtype=torch.float64)
    h = torch.tensor(h, dtype=torch.float64)
    for bound, function in ((phi.sup0, phi.value), (phi.sup1, phi.slope), (phi.sup2, phi.bend)):
        assert function(z).abs().max() <= bound(h) * (1 + 1e-12)
    assert phi.sup0(h) == pytest.approx(phi.value(z).abs().max().item(), rel=1e-9)


@everything
def test_constants_on_the_line(name):
    phi, z = SMOOTH[name], torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    for constant, found in ((phi.k1, phi.slope(z)), (phi.beta, phi.bend(z))):
        assert constant / 1.0001 < found.abs().max() <= constant * (1 + 1e-12)
    assert (phi.value(z).abs() <= phi.k0 * z.abs() + phi.at_zero + 1e-12).all()
    assert phi.value(torch.zeros((), dtype=torch.float64)) == pytest.approx(phi.at_zero)
    infinite = torch.tensor(math.inf, dtype=torch.float64)
    assert phi.sup1(infinite) == pytest.approx(phi.k1)
    assert phi.sup2(infinite) == pytest.approx(phi.beta)


def test_relu_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"activation: got 'relu'; allowed: tanh, .*not smooth"):
        smooth_activation("relu")
    with pytest.raises(ValueError, match="activation: got 'sine'"):
        smooth_activation("sine")
