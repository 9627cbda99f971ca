"""The a-priori curvature of DAG networks against dense Hessians on the ball, and the run that it certifies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from boundcheck.theory.dag_momentum.certificate import a_priori_curvature, ball_path_sums
from boundcheck.theory.dag_momentum.convergence import weight_bound
from boundcheck.theory.dag_momentum.hessian import path_sums, sublevel_hessian_bound, uniform_layer_norms
from boundcheck.theory.dag_momentum.step import decrease, step_limit

FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "linear": lambda z: z}
GRAPHS = [[[0], [1]], [[0], [0, 1]], [[0], [0, 1], [1, 2]], [[0], [0, 1], [2], [2, 3]]]
ONE_LAYER = ball_path_sums([1, 1], [[0]], ["tanh"], [1.0], 1.0)


class Net:
    """Layers of two units written from their equations; E is the mean of ½‖x_L − o‖² over four samples, float64."""

    def __init__(self, seed, parents, activations):
        rng = np.random.default_rng(seed)
        self.parents, self.activations, self.widths = parents, activations, [2] * (len(parents) + 1)
        self.size = sum(4 * len(below) + 2 for below in parents)
        self.direction = torch.tensor(rng.normal(size=self.size))
        self.x, self.targets = (torch.tensor(rng.normal(size=(4, 2))) for _ in range(2))

    def loss(self, w):
        x, start = [self.x], 0
        for below, name in zip(self.parents, self.activations, strict=True):
            z = w[start : start + 2]
            start += 2
            for j in below:
                z = z + x[j] @ w[start : start + 4].view(2, 2).T
                start += 4
            x.append(FUNCTIONS[name](z))
        return (x[-1] - self.targets).square().sum() / 8

    def penalised(self, w, decay):
        return self.loss(w) + decay / 2 * w.square().sum()

    def sums(self, radius):
        return ball_path_sums(self.widths, self.parents, self.activations, self.x.norm(dim=1).numpy(), radius)


def cases():
    names = ["tanh", "sigmoid", "linear"]
    for seed, parents in enumerate(GRAPHS):
        for hidden, output in itertools.product(names, ["sigmoid", "linear"]):
            yield pytest.param(seed, parents, hidden, output, id=f"{len(parents)} layers {hidden} {output}")


@pytest.mark.parametrize(("seed", "parents", "hidden", "output"), list(cases()))
@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_no_weights_on_the_ball_are_more_curved(seed, parents, hidden, output, radius):
    net = Net(seed, parents, [hidden] * (len(parents) - 1) + [output])
    w = radius * net.direction / net.direction.norm()
    sums = net.sums(radius)
    H = torch.autograd.functional.hessian(net.loss, w, vectorize=True)
    norm = torch.linalg.matrix_norm(H, 2).item()
    E = net.loss(w).item()
    assert norm <= sublevel_hessian_bound(sums, E, 1 / 4)
    assert norm + 0.1 <= a_priori_curvature(sums, net.penalised(w, 0.1).item(), 0.1, 1 / 4)


@pytest.mark.parametrize("parents", GRAPHS, ids=str)
@pytest.mark.parametrize("hidden", ["tanh", "sigmoid"])
def test_it_covers_every_way_to_share_the_radius_and_is_sharper_than_all_norms_at_it(parents, hidden, rng):
    activations, radius = [hidden] * (len(parents) - 1) + ["linear"], 4.0
    net = Net(0, parents, activations)
    found, norms = net.sums(radius), net.x.norm(dim=1).numpy()
    bounded = uniform_layer_norms(net.widths, activations, norms)
    num_edges = sum(map(len, parents))
    for _ in range(200):
        shares = np.abs(rng.normal(size=num_edges)) ** rng.uniform(0, 3)
        omegas = iter(radius * shares / np.linalg.norm(shares))
        own = path_sums(parents, activations, [[next(omegas) for _ in below] for below in parents], bounded)
        assert (own.slope <= found.slope * (1 + 1e-12)).all()
        assert (own.curvature <= found.curvature * (1 + 1e-12)).all()
    at_radius = path_sums(parents, activations, [[radius] * len(below) for below in parents], bounded)
    is_sharper = found.curvature < at_radius.curvature
    assert is_sharper.all() == (len(parents) > 2)  # behind the first layer a path of two edges shares the radius
    assert (found.slope <= at_radius.slope).all()


def test_the_product_along_a_chain_is_attained():
    """z_q = w_q … w_2 (w_1 x): with equal norms R/√2 on the two edges behind layer 1 the bound on A is an equality."""
    radius, x = 2.0, 0.0
    found = ball_path_sums([1, 1, 1, 1], [[0], [1], [2]], ["linear"] * 3, [x], radius)
    omega = radius / np.sqrt(2)
    X = [x, radius, radius * np.sqrt(1 + radius**2)]  # |z| ≤ R Y, X_0 = 0
    Y = [np.sqrt(1 + value**2) for value in X]
    assert found.slope[0] == pytest.approx(np.sqrt(Y[2] ** 2 + (radius * Y[1]) ** 2 + (omega**2 * Y[0]) ** 2))


def test_it_is_attained_by_a_linear_layer(assert_bound):
    """E = ½ (wx + b − o)²: the Hessian has norm 1 + x², and λ on top."""
    sums = ball_path_sums([1, 1], [[0]], ["linear"], [1.5], 3.0)
    assert_bound(1 + 1.5**2 + 0.2, float(a_priori_curvature(sums, 7.0, 0.2, 1.0)), 1.0)


@pytest.mark.parametrize("s", [0.0, 0.5, 0.9])
def test_the_step_that_it_certifies_descends_and_stays_on_the_ball(s):
    """Every step of the run keeps the sharp descent bound with L(R), with no other premise than weight decay."""
    net, decay = Net(3, GRAPHS[1], ["sigmoid", "linear"]), 0.3
    w, previous = 0.5 * net.direction, torch.zeros(net.size, dtype=torch.float64)
    E = net.penalised(w, decay).item()
    radius = float(weight_bound(E, decay))
    L = float(a_priori_curvature(net.sums(radius), E, decay, 1 / 4))
    eta = 0.95 * float(step_limit(L, s))
    c, first = float(decrease(eta, L, s)), E
    assert c > 0
    for _ in range(200):
        w.requires_grad_()
        (g,) = torch.autograd.grad(net.penalised(w, decay), w)
        w, length = w.detach(), previous.norm()
        previous = -eta * g + (s * eta * g.norm() / length * previous if length > 0 else 0.0)
        w = w + previous
        after = net.penalised(w, decay).item()
        assert after <= E - c * g.square().sum().item() + 1e-14
        assert w.norm().item() <= radius
        E = after
    assert E / first < 0.98


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: ball_path_sums([1, 1], [[0]], ["linear"], [1.0], -1.0), "radius"),
        (lambda: ball_path_sums([1, 1], [[0]], ["linear"], [1.0], float("nan")), "radius"),
        (
            lambda: a_priori_curvature(ball_path_sums([1, 1], [[0]], ["tanh"], [1.0], 1.0), 1.0, 0.0, 1.0),
            "weight_decay",
        ),
        (lambda: a_priori_curvature(ball_path_sums([1, 1], [[0]], ["tanh"], [1.0], 1.0), -1.0, 0.1, 1.0), "loss"),
    ],
)
def test_arguments_without_meaning_are_rejected(call, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*; allowed: "):
        call()
