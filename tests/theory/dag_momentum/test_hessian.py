"""The Hessian bound of DAG networks against dense Hessians of random small ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boundcheck.theory.dag_momentum.hessian import (
    ACTIVATION_BOUNDS,
    hessian_bound,
    path_sums,
    sublevel_hessian_bound,
    uniform_layer_norms,
)

FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "linear": lambda z: z}


class Net:
    """A DAG network of random shape and weights, written from its equations; float64."""

    def __init__(self, seed, scale=1.0, activations=None, parents=None, widths=None):
        rng = np.random.default_rng(seed)
        depth = len(parents) if parents else int(rng.integers(1, 4))
        self.widths = widths or [int(n) for n in rng.integers(1, 4, depth + 1)]
        self.parents = parents or [
            sorted({i - 1, *(int(j) for j in rng.integers(0, i, 2))}) for i in range(1, depth + 1)
        ]
        self.activations = activations or [str(name) for name in rng.choice(["sigmoid", "tanh"], depth)]
        self.shapes = [(self.widths[i], self.widths[j]) for i in range(1, depth + 1) for j in self.parents[i - 1]] + [
            (self.widths[i],) for i in range(1, depth + 1)
        ]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.theta = torch.tensor(scale * rng.normal(size=sum(self.sizes)))
        self.x = torch.tensor(rng.normal(size=(5, self.widths[0])))
        self.targets = torch.tensor(rng.normal(size=(5, self.widths[-1])))

    def layers(self, theta):
        pieces = [p.view(shape) for p, shape in zip(theta.split(self.sizes), self.shapes, strict=True)]
        weights, biases = iter(pieces), pieces[len(pieces) - len(self.parents) :]
        x = [self.x]
        for parents, bias, name in zip(self.parents, biases, self.activations, strict=True):
            x.append(FUNCTIONS[name](sum(x[j] @ next(weights).T for j in parents) + bias))
        return x

    def loss(self, theta):
        return (self.layers(theta)[-1] - self.targets).square().sum() / 2

    def bounds(self, uniform=False):
        x = [layer.detach().numpy() for layer in self.layers(self.theta)]
        pieces = iter(p.view(s).numpy() for p, s in zip(self.theta.split(self.sizes), self.shapes, strict=True))
        omegas = [[np.linalg.norm(next(pieces), 2) for _ in parents] for parents in self.parents]
        norms = [np.linalg.norm(layer, axis=1) for layer in x]
        given = uniform_layer_norms(self.widths, self.activations, norms[0]) if uniform else norms[:-1]
        sums = path_sums(self.parents, self.activations, omegas, given)
        residual = np.linalg.norm(x[-1] - self.targets.numpy(), axis=1)
        E = float(self.loss(self.theta))
        return hessian_bound(sums, residual, 1.0), sublevel_hessian_bound(sums, E, 1.0)

    def hessian_norm(self):
        H = torch.autograd.functional.hessian(self.loss, self.theta, vectorize=True)
        return float(torch.linalg.matrix_norm(H, 2))


@pytest.mark.parametrize("seed", range(30))
def test_the_bound_holds_on_random_networks(seed):
    net = Net(seed, scale=[0.3, 1.0, 3.0][seed % 3])
    norm = net.hessian_norm()
    pointwise, sublevel = net.bounds()
    uniform, uniform_sublevel = net.bounds(uniform=True)
    assert norm <= pointwise
    assert pointwise <= sublevel * (1 + 1e-12)
    assert pointwise <= uniform * (1 + 1e-12)
    assert sublevel <= uniform_sublevel * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_holds_with_linear_outputs_and_a_complete_graph(seed):
    parents = [[0], [0, 1], [0, 1, 2]]
    net = Net(seed, activations=["tanh", "sigmoid", "linear"], parents=parents, widths=[3, 2, 2, 2])
    assert net.hessian_norm() <= net.bounds()[0]


def test_the_bound_is_attained_by_a_linear_layer(assert_bound):
    """E = ½ Σ (wx + b − o)²: the Hessian is Σ (x, 1)(x, 1)ᵀ, for one sample of norm 1 + x²."""
    net = Net(0, activations=["linear"], parents=[[0]], widths=[1, 1])
    net.x, net.targets = net.x[:1], net.targets[:1]
    pointwise, _ = net.bounds()
    assert_bound(net.hessian_norm(), float(pointwise), 1.0)


def test_a_longer_path_counts():
    """Without the paths through layer 1 the bound would be that of the last layer alone."""
    deep = path_sums([[0], [0, 1]], ["tanh", "tanh"], [[2.0], [0.5, 3.0]], [1.0, 1.0])
    flat = path_sums([[0], [0]], ["tanh", "tanh"], [[2.0], [0.5]], [1.0, 1.0])
    Z2 = 3 + (np.sqrt(2) * 3.0) ** 2  # Y² + (G1 Y₁ ω₂₁)²
    assert deep.slope == pytest.approx(np.sqrt(Z2))
    assert flat.slope == pytest.approx(np.sqrt(2))
    G2, B1 = ACTIVATION_BOUNDS["tanh"].curvature, ACTIVATION_BOUNDS["tanh"].curvature * 2
    assert deep.curvature == pytest.approx(G2 * Z2 + np.sqrt(2) + 3.0 * B1)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_the_bounds_of_activations_are_their_suprema(name):
    z = torch.linspace(-6, 6, 200001, dtype=torch.float64).requires_grad_()
    y = FUNCTIONS[name](z)
    (dy,) = torch.autograd.grad(y.sum(), z, create_graph=True)
    (d2y,) = torch.autograd.grad(dy.sum(), z)
    for found, bound, rel in zip((y, dy, d2y), ACTIVATION_BOUNDS[name], (3e-3, 1e-8, 1e-8), strict=True):
        assert found.abs().max().item() == pytest.approx(bound, rel=rel)
        assert found.abs().max().item() <= bound * (1 + 1e-12)


def test_arguments_without_meaning_are_rejected():
    sums = path_sums([[0]], ["tanh"], [[1.0]], [np.ones(2)])
    for call, name in (
        (lambda: hessian_bound(sums, np.ones(2), 0.0), "scale"),
        (lambda: sublevel_hessian_bound(sums, -1.0, 1.0), "loss"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got .*; allowed: "):
            call()
