"""GAM on a small network, against the algorithms written out on flat vectors with plain autograd."""

from __future__ import annotations

import math

import pytest
import torch

from boundcheck.methods import GAM, GSAM, SAM, GradientPenalty

XI = 1e-12
SETTINGS = {"rho": 0.2, "alpha": 0.6, "radius": 0.02, "beta": 0.5, "gamma": 0.03}


def hat(v):
    return v / (v.norm() + XI)


def direction(network, optimizer_class, *args, **settings):
    optimizer = optimizer_class(torch.optim.SGD(network.model.parameters(), lr=0.0), *args, **settings)
    optimizer.step(network.closure(optimizer))
    return network.direction()


def accelerated(gradient, theta, rho, alpha, radius, beta, gamma, released=True):
    """The accelerated direction, step by step."""
    g0 = gradient(theta)
    g1 = gradient(theta + radius * hat(g0))
    theta_2 = theta + rho * hat(g1 - g0)
    g2 = gradient(theta_2)
    g3 = gradient(theta_2 + radius * hat(g2))
    h_minus = g0 + abs(1 - beta) * g2 if released else beta * g0 + (1 - beta) * g2
    h_plus = alpha * g1 + (1 - alpha) * g3
    cosine = h_minus @ h_plus / (h_minus.norm() * h_plus.norm() + XI)
    across = h_minus - cosine * h_minus.norm() * hat(h_plus)
    return h_plus - gamma * across


def algorithm_1(network, theta, rho, alpha):
    """The exact direction, by dense Hessians, and the point θ_adv that it looks at."""
    g, H = network.gradient(theta), network.hessian(theta)
    f = H @ hat(g)
    adv = theta + rho * hat(f)
    return g + alpha * rho * network.hessian(adv) @ hat(network.gradient(adv)), adv


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_exact_is_algorithm_1(make_network, activation):
    network = make_network(activation)
    expected, _ = algorithm_1(network, network.theta(), 0.2, 0.3)
    torch.testing.assert_close(direction(network, GAM, 0.2, 0.3), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("oracle", ["sam", "gsam"])
@pytest.mark.parametrize("form", ["exact", "finite_difference"])
def test_an_oracle_replaces_the_gradient_of_the_loss(make_network, form, oracle):
    network = make_network()
    settings = {"radius": 0.02} if form == "finite_difference" else {}
    plain = direction(network, GAM, 0.2, 0.3, form, **settings)
    settings |= {"oracle": oracle, "oracle_rho": 0.07} | ({"oracle_alpha": 0.4} if oracle == "gsam" else {})
    found = direction(network, GAM, 0.2, 0.3, form, **settings)
    gradient = direction(network, SAM, 0.07) if oracle == "sam" else direction(network, GSAM, 0.07, 0.4)
    expected = plain - network.gradient(network.theta()) + gradient
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize(
    "values",
    [(0.2, 0.6, 0.02, 0.5, 0.03), (0.2, 0.5, 0.04, 0.3, 0.05), (0.2, 0.1, 0.03, 0.1, 0.05), (0.5, 0.9, 0.3, 1.0, 2.0)],
)
def test_accelerated_is_the_algorithm_written_out(make_network, values, released):
    network = make_network()
    settings = dict(zip(SETTINGS, values, strict=True))
    expected = accelerated(network.gradient, network.theta(), **settings, released=released)
    form = "accelerated_released" if released else "accelerated_paper"
    torch.testing.assert_close(direction(network, GAM, form=form, **settings), expected, rtol=0, atol=1e-12)


def test_paper_and_released_differ_but_are_one_family(make_network):
    released = direction(make_network(), GAM, form="accelerated_released", **SETTINGS)
    paper = direction(make_network(), GAM, form="accelerated_paper", **SETTINGS)
    assert 1e-4 < (released - paper).norm() / paper.norm() < 1e-1
    beta, gamma = SETTINGS["beta"], SETTINGS["gamma"]
    effective = SETTINGS | {"beta": 1 / (1 + abs(1 - beta)), "gamma": gamma * (1 + abs(1 - beta))}
    paper = direction(make_network(), GAM, form="accelerated_paper", **effective)
    torch.testing.assert_close(paper, released, rtol=0, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_without_a_ball_accelerated_is_gsam(make_network, alpha):
    """ρ = 0: θ₂ = θ, so g₂ = g₀ and g₃ = g₁: GSAM with radius ρ′ and the coefficient γ (1 + |1 − β|)."""
    settings = SETTINGS | {"rho": 0.0, "alpha": alpha}
    found = direction(make_network(), GAM, form="accelerated_released", **settings)
    gsam = direction(make_network(), GSAM, 0.02, 0.03 * 1.5)
    torch.testing.assert_close(found, gsam, rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", ["accelerated_paper", "accelerated_released"])
def test_at_one_accelerated_is_gsam_or_sam(make_network, form):
    """α = β = 1 leaves g₀ and g₁ alone: GSAM; α = 1, γ = 0 leaves g₁: SAM."""
    found = direction(make_network(), GAM, form=form, **SETTINGS | {"alpha": 1.0, "beta": 1.0})
    torch.testing.assert_close(found, direction(make_network(), GSAM, 0.02, 0.03), rtol=0, atol=1e-10)
    found = direction(make_network(), GAM, form=form, **SETTINGS | {"alpha": 1.0, "gamma": 0.0})
    torch.testing.assert_close(found, direction(make_network(), SAM, 0.02), rtol=0, atol=1e-10)


def slope(errors):
    """Least-squares slope of log₁₀(error) against log₁₀(ρ′) for ρ′ = 1e-1 … 1e-5."""
    x, y = torch.arange(-1.0, -6.0, -1.0), torch.tensor([math.log10(error) for error in errors])
    return ((x - x.mean()) @ (y - y.mean()) / (x - x.mean()).square().sum()).item()


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_finite_differences_converge_to_algorithm_1_linearly(make_network, activation):
    network = make_network(activation)
    expected, _ = algorithm_1(network, network.theta(), 0.2, 1.0)
    errors = [
        (direction(network, GAM, 0.2, 1.0, "finite_difference", radius=10.0**-k) - expected).norm().item()
        for k in range(1, 6)
    ]
    assert 0.95 <= slope(errors) <= 1.05


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_accelerated_direction_has_a_limit_without_flatness(make_network, activation):
    """As ρ′ → 0: h₊ → α g + (1 − α) g_adv and h₋ → g + |1 − β| g_adv, which is not Algorithm 1."""
    network = make_network(activation)
    alpha, beta, gamma = 0.6, 0.5, 0.3
    exact, adv = algorithm_1(network, network.theta(), 0.2, alpha)
    g, g_adv = network.gradient(network.theta()), network.gradient(adv)
    plus, minus = alpha * g + (1 - alpha) * g_adv, g + abs(1 - beta) * g_adv
    limit = plus - gamma * (minus - (minus @ plus) / (plus @ plus) * plus)
    errors = []
    for k in range(1, 6):
        settings = {"rho": 0.2, "alpha": alpha, "radius": 10.0**-k, "beta": beta, "gamma": gamma}
        errors.append((direction(network, GAM, form="accelerated_released", **settings) - limit).norm().item())
    assert 0.95 <= slope(errors) <= 1.05
    assert (limit - exact).norm() > 1e3 * errors[-1]


def test_without_a_ball_gam_is_the_gradient_penalty(make_network):
    """ρ → 0 with αρ = λ: the flatness term is λ ∇‖∇L(θ)‖, which the penalty takes by a difference."""
    network, lam = make_network(), 0.05
    theta = network.theta()
    g = network.gradient(theta)
    expected = g + lam * network.hessian(theta) @ g / g.norm()
    for radius in (1e-4, 1e-5):
        gam = direction(network, GAM, radius, lam / radius)
        penalty = direction(network, GradientPenalty, lam, radius)
        torch.testing.assert_close(gam, expected, rtol=0, atol=radius)
        torch.testing.assert_close(penalty, expected, rtol=0, atol=radius)
        assert (expected - g).norm() > 100 * radius


@pytest.mark.parametrize("form", ["exact", "finite_difference", "accelerated_released"])
def test_twenty_steps_with_momentum_and_weight_decay(make_network, form):
    """v ← 0.9 v + d + 5e-4 θ, θ ← θ − 0.1 v on flat vectors, with a new mini-batch at every step."""
    network, reference = make_network(), make_network()
    settings = SETTINGS if form == "accelerated_released" else {"rho": 0.2, "alpha": 0.3}
    base = torch.optim.SGD(network.model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    radius = {"radius": 0.01} if form == "finite_difference" else {}
    optimizer = GAM(base, form=form, **settings, **radius)
    theta, velocity = reference.theta(), 0
    for step in range(20):
        network.batch = reference.batch = step % 3
        optimizer.step(network.closure(optimizer))
        if form == "accelerated_released":
            d = accelerated(reference.gradient, theta, **settings)
        elif form == "exact":
            d, _ = algorithm_1(reference, theta, 0.2, 0.3)
        else:
            g0 = reference.gradient(theta)
            adv = theta + 0.2 * hat(reference.gradient(theta + 0.01 * hat(g0)) - g0)
            g2 = reference.gradient(adv)
            d = g0 + 0.3 * 0.2 * (reference.gradient(adv + 0.01 * hat(g2)) - g2) / 0.01
        velocity = 0.9 * velocity + d + 5e-4 * theta
        theta = theta - 0.1 * velocity
        torch.testing.assert_close(network.theta(), theta, rtol=0, atol=1e-12)


def test_the_released_form_keeps_the_rounding_of_its_sums(make_network):
    """θ visits θ + e₁, ((θ + e₁) − e₁) + e₂, that + e₃, and ends e₂ + e₃ before that: in float32 not where it began."""
    network = make_network(dtype=torch.float32)
    optimizer = GAM(torch.optim.SGD(network.model.parameters(), lr=0.0), form="accelerated_released", **SETTINGS)
    closure, points, gradients = network.closure(optimizer), [], []

    def watching():
        points.append(network.theta())
        loss = closure()
        gradients.append(network.direction())
        return loss

    def step(v, length):
        return v * (length / (v.norm() + XI))

    optimizer.step(watching)
    theta, (g0, g1, g2, _) = points[0], gradients
    e1, e2, e3 = step(g0, 0.02), step(g1 - g0, 0.2), step(g2, 0.02)
    back = (theta + e1) - e1
    end = (back + e2 + e3) - (e2 + e3)
    for found, expected in zip(points, (theta, theta + e1, back + e2, back + e2 + e3), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(network.theta(), end)
    assert not torch.equal(end, theta)
    assert not torch.equal(back, theta)
