"""SAM, ASAM, GSAM, the gradient penalty and the ascent-only control, against their equations."""

from __future__ import annotations

import pytest
import torch

from boundcheck.methods import GSAM, SAM, AscentOnly, GradientPenalty

XI = 1e-12


def hat(v):
    return v / (v.norm() + XI)


@pytest.fixture
def direction(make_network):
    """The direction of one step on a fresh network, and that network."""

    def of(optimizer_class, *args, **settings):
        network = make_network()
        optimizer = optimizer_class(torch.optim.SGD(network.model.parameters(), lr=0.0), *args, **settings)
        optimizer.step(network.closure(optimizer))
        return network.direction(), network

    return of


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.05, 2.0])
def test_sam(direction, rho):
    found, network = direction(SAM, rho)
    theta = network.theta()
    close(found, network.gradient(theta + rho * hat(network.gradient(theta))))


def test_adaptive_sam(direction):
    """ε = ρ T²g/‖Tg‖, T = |θ|."""
    found, network = direction(SAM, 0.5, adaptive=True)
    theta = network.theta()
    g, scale = network.gradient(theta), theta.abs()
    epsilon = 0.5 * scale**2 * g / (scale * g).norm()
    close(found, network.gradient(theta + epsilon))
    assert (found - direction(SAM, 0.5)[0]).norm() > 1e-3


def test_adaptive_sam_does_not_feel_the_scale_of_a_weight(make_network):
    """Scaling a layer by c and undoing it in the next leaves ASAM's perturbed loss as it was, and changes SAM's."""

    def perturbed_loss(adaptive, c):
        network = make_network()
        first, last = network.model[0], network.model[2]
        network.model[1] = torch.nn.ReLU()
        with torch.no_grad():
            first.weight.mul_(c), first.bias.mul_(c), last.weight.div_(c)
        losses = []
        optimizer = SAM(torch.optim.SGD(network.model.parameters(), lr=0.0), 0.3, adaptive)
        closure = network.closure(optimizer)
        optimizer.step(lambda: losses.append(closure().item()))
        return losses[1]

    assert perturbed_loss(True, 5.0) == pytest.approx(perturbed_loss(True, 1.0), rel=1e-12)
    assert perturbed_loss(False, 5.0) != pytest.approx(perturbed_loss(False, 1.0), rel=1e-2)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 3.0])
def test_gsam(direction, alpha):
    """d + α g⊥ = g_p, where g = g∥ + g⊥, g⊥ ⟂ g_p ∥ g∥."""
    found, network = direction(GSAM, 0.3, alpha)
    theta = network.theta()
    g = network.gradient(theta)
    worst = network.gradient(theta + 0.3 * hat(g))
    along = g @ worst / (g.norm() * worst.norm() + XI) * g.norm() * hat(worst)
    close(found, worst - alpha * (g - along))


def test_gsam_takes_nothing_from_the_perturbed_gradient(direction):
    found, _ = direction(GSAM, 0.3, 0.4)
    worst, _ = direction(SAM, 0.3)
    assert (found - worst).norm() > 1e-3
    assert ((found - worst) @ worst).abs() < 1e-11


@pytest.mark.parametrize(("lam", "radius"), [(0.0, 0.1), (0.02, 0.1), (0.3, 0.1)])
def test_gradient_penalty(direction, lam, radius):
    found, network = direction(GradientPenalty, lam, radius)
    theta = network.theta()
    g, share = network.gradient(theta), lam / radius
    close(found, (1 - share) * g + share * network.gradient(theta + radius * hat(g)))


def test_gradient_penalty_with_all_weight_on_the_far_gradient_is_sam(direction):
    close(direction(GradientPenalty, 0.1, 0.1)[0], direction(SAM, 0.1)[0])


def test_gradient_penalty_is_exact_on_quadratics(make_quadratic):
    for radius in (1e-2, 10.0):
        problem = make_quadratic(0)
        g = problem.A @ problem.x.detach()
        optimizer = GradientPenalty(torch.optim.SGD([problem.x], lr=0.0), 0.3, radius)
        optimizer.step(problem.closure(optimizer))
        close(problem.x.grad, g + 0.3 * problem.A @ hat(g))


def test_ascent_only(direction):
    found, network = direction(AscentOnly, 0.2)
    theta = network.theta()
    f = network.hessian(theta) @ hat(network.gradient(theta))
    close(found, network.gradient(theta + 0.2 * hat(f)))


@pytest.mark.parametrize(
    ("optimizer_class", "numbers"), [(SAM, (0.1,)), (GSAM, (0.1, 0.3)), (GradientPenalty, (0.05, 0.1))]
)
def test_the_base_makes_the_step(make_network, optimizer_class, numbers):
    """AdamW fed with the direction by hand ends where the wrapper ends."""
    wrapped, plain = make_network(), make_network()
    optimizer = optimizer_class(torch.optim.AdamW(wrapped.model.parameters(), lr=0.01, weight_decay=0.1), *numbers)
    by_hand = torch.optim.AdamW(plain.model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        optimizer.step(wrapped.closure(optimizer))
        for parameter, source in zip(plain.model.parameters(), wrapped.model.parameters(), strict=True):
            parameter.grad = source.grad.clone()
        by_hand.step()
        assert torch.equal(plain.theta(), wrapped.theta())
