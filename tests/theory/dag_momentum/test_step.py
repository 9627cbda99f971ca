"""One step of adaptive momentum against its equations, on random quadratics and where each bound is attained."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.dag_momentum.step import (
    alignment,
    cosine_bound,
    decrease,
    descent_slope_bound,
    effective_momentum_bracket,
    paper_decrease,
    paper_step_limit,
    predicted_decrease,
    step_limit,
    update_bracket,
)

NUM_QUADRATICS, DIMENSION = 20_000, 4


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def step(gradient, previous, eta, s, blocks=None):
    """Δw⁺ = −ηg + τ Δw, τ = sη‖g‖/‖Δw‖, in every block; rows are problems."""
    new = np.empty_like(gradient)
    for block in blocks or [slice(None)]:
        g, old = gradient[..., block], previous[..., block]
        length = np.linalg.norm(old, axis=-1, keepdims=True)
        tau = s * eta * np.linalg.norm(g, axis=-1, keepdims=True) / np.where(length > 0, length, np.inf)
        new[..., block] = -eta * g + tau * old
    return new


class Quadratics:
    """E(w) = ½ wᵀHw, one per row, with eigenvalues in [−1, 1]·L and any previous step; some steps are zero.

    The first `num_worst` have H = L·1 and the previous step for which the sharp bound is attained.
    """

    def __init__(self, rng, num=NUM_QUADRATICS, d=DIMENSION):
        eigenvalues = rng.uniform(-1, 1, (num, d)) * 10 ** rng.uniform(-1, 1, (num, 1))
        self.L = np.maximum(eigenvalues.max(1), 1e-2)
        self.num_worst = num // 10
        eigenvalues[: self.num_worst] = self.L[: self.num_worst, None]
        self.least = eigenvalues.min(1)
        basis = np.linalg.qr(rng.normal(size=(num, d, d)))[0]
        self.H = basis @ (eigenvalues[:, :, None] * basis.transpose(0, 2, 1))
        self.w = rng.normal(size=(num, d))
        self.previous = rng.normal(size=(num, d)) * (rng.random((num, 1)) > 0.1)
        self.s = rng.uniform(0, 0.99, num)
        self.eta = rng.uniform(0.01, 1, num) * step_limit(self.L, self.s)
        worst_side = np.where(self.eta < 1 / self.L, 1.0, -1.0)[:, None] * self.gradient
        self.previous[: self.num_worst] = worst_side[: self.num_worst]

    def loss(self, w):
        return np.einsum("ni,nij,nj->n", w, self.H, w) / 2

    @property
    def gradient(self):
        return np.einsum("nij,nj->ni", self.H, self.w)

    def taken(self, blocks=None):
        return step(self.gradient, self.previous, self.eta[:, None], self.s[:, None], blocks)


@pytest.fixture
def quadratics(rng):
    return Quadratics(rng)


@pytest.mark.parametrize("blocks", [None, [slice(0, 1), slice(1, 4)], [slice(i, i + 1) for i in range(4)]])
def test_the_sharp_descent_bound_on_random_quadratics(quadratics, blocks):
    d, g2 = quadratics.taken(blocks), (quadratics.gradient**2).sum(1)
    drop = quadratics.loss(quadratics.w) - quadratics.loss(quadratics.w + d)
    guaranteed = decrease(quadratics.eta, quadratics.L, quadratics.s) * g2
    slack = drop - guaranteed
    assert slack.min() >= -1e-12
    assert np.abs(slack[: quadratics.num_worst]).max() <= 1e-12  # attained
    assert (guaranteed > 0).all()
    conservative = paper_decrease(quadratics.eta, quadratics.L, quadratics.s) * g2
    assert (conservative <= guaranteed * (1 + 1e-12)).all()
    norms, slope = np.linalg.norm(d, axis=1), (quadratics.gradient * d).sum(1)
    lower, upper = update_bracket(np.sqrt(g2), quadratics.eta, quadratics.s)
    assert (norms >= lower * (1 - 1e-12)).all()
    assert (norms <= upper * (1 + 1e-12)).all()
    assert (-slope >= descent_slope_bound(np.sqrt(g2), quadratics.eta, quadratics.s) * (1 - 1e-12)).all()
    assert (-slope / (norms * np.sqrt(g2)) >= cosine_bound(quadratics.s) - 1e-12).all()
    within = predicted_decrease(slope, norms, quadratics.L), predicted_decrease(slope, norms, quadratics.least)
    assert (drop >= within[0] - 1e-12).all()
    assert (drop <= within[1] + 1e-12).all()


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("s", [0.0, 0.5, 0.9])
def test_the_sharp_bound_is_attained(s, share, assert_bound):
    """H = L·1, with the previous step along the gradient (c = −1, small η) or against it (c = +1)."""
    L, w = 3.0, np.array([0.6, -0.8])
    eta = share * step_limit(L, s)
    drops = []
    for sign in (-1, 1):
        d = step(L * w, sign * -w, eta, s)
        drops.append(L / 2 * (w @ w - (w + d) @ (w + d)))
    assert_bound(min(drops), float(decrease(eta, L, s) * L**2), 1.0, sense="lower")


def test_beyond_the_limits_the_loss_can_rise():
    L, s, w = 2.0, 0.5, np.array([1.0])
    for beyond, sign in ((1.01 * step_limit(L, s), 1),):
        d = step(L * w, sign * -w, beyond, s)
        assert L / 2 * ((w + d) @ (w + d)) > L / 2 * (w @ w)
    assert decrease(1.01 * step_limit(L, s), L, s) < 0 < decrease(0.99 * step_limit(L, s), L, s)
    assert paper_decrease(1.01 * paper_step_limit(L, s), L, s) < 0 < paper_decrease(0.99 * paper_step_limit(L, s), L, s)


@pytest.mark.parametrize(("s", "ratio"), [(0.0, 1), (0.5, 3), (0.9, 19), (0.95, 39)])
def test_the_sharp_limit_is_wider(s, ratio):
    assert step_limit(4.0, s) / paper_step_limit(4.0, s) == pytest.approx(ratio, rel=1e-12)
    best = decrease(1 / 4.0, 4.0, s)
    assert best == pytest.approx((1 - s**2) / 8, rel=1e-12)
    grid = decrease(np.linspace(0.01, 1, 400) * step_limit(4.0, s), 4.0, s)
    assert grid.max() <= best * (1 + 1e-12)
    conservative = paper_decrease((1 - s) / (4 * (1 + s) ** 2), 4.0, s)
    assert conservative == pytest.approx((1 - s) ** 2 / (8 * (1 + s) ** 2), rel=1e-12)


@pytest.mark.parametrize("s", [0.3, 0.5, 0.9])
def test_the_bracket_and_the_angle_are_attained(s, assert_bound):
    g, eta = np.array([3.0, 4.0]), 0.1
    lower, upper = update_bracket(5.0, eta, s)
    along, against = step(g, -g, eta, s), step(g, g, eta, s)
    assert_bound(float(np.linalg.norm(along)), float(upper), 1.0)
    assert_bound(float(np.linalg.norm(against)), float(lower), 1.0, sense="lower")
    assert_bound(float(-g @ against), float(descent_slope_bound(5.0, eta, s)), 1.0, sense="lower")
    across = np.array([-4.0, 3.0]) / 5
    widest = min(  # the previous step that turns the new one furthest away
        (-g @ d) / (5 * np.linalg.norm(d))
        for angle in np.linspace(0, np.pi, 20001)
        for d in [step(g, np.cos(angle) * g / 5 + np.sin(angle) * across, eta, s)]
    )
    assert_bound(float(widest), float(cosine_bound(s)), 1.0, sense="lower", rel=1e-6)


def test_the_alignment_is_that_of_the_previous_step(rng):
    g, previous = rng.normal(size=(50, 6)), rng.normal(size=(50, 6))
    d = step(g, previous, 0.3, 0.7)
    found = alignment(np.linalg.norm(g, axis=1), np.linalg.norm(d, axis=1), 0.3, 0.7)
    np.testing.assert_allclose(found, (unit(previous) * -unit(g)).sum(1), atol=1e-12)
    assert np.isnan(alignment(1.0, 1.0, 1.0, 0.0))


def test_the_effective_momentum(rng):
    s, eta, w = 0.6, 0.05, rng.normal(size=5)
    H = np.diag([1.0, 2.0, 3.0, 0.5, 0.1])
    previous, last, ratios = np.zeros(5), None, []
    for _ in range(60):
        g = H @ w
        if last is not None:
            tau = s * eta * np.linalg.norm(g) / np.linalg.norm(previous)
            ratios.append(tau * last / np.linalg.norm(g))
        previous, last = step(g, previous, eta, s), np.linalg.norm(g)
        w = w + previous
    low, high = effective_momentum_bracket(s)
    assert (np.array(ratios[1:]) >= low * (1 - 1e-12)).all()
    assert (np.array(ratios) <= high * (1 + 1e-12)).all()
    assert ratios[-1] == pytest.approx(low, rel=0.05)


def test_a_factor_beyond_1_can_blow_up():
    """s = 3 at Lη = 0.45: an overshoot grows by 1 + Lη(s − 1) a step; s = 0.9 at the same step size does not."""
    sizes = {}
    for s in (0.9, 3.0):
        w, previous, H = np.array([1.0, 1.0]), np.zeros(2), np.array([1.0, 0.3])
        for k in range(40):
            previous = step(H * w, previous, 0.45, s)
            w = w + previous
            if (H * w**2).sum() / 2 > 1e6:
                sizes[s] = k
                break
    assert set(sizes) == {3.0}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: update_bracket(-1, 0.1, 0.5), "gradient_norm"),
        (lambda: update_bracket(1, 0.0, 0.5), "lr"),
        (lambda: cosine_bound(1.5), "s"),
        (lambda: step_limit(0.0, 0.5), "curvature"),
        (lambda: paper_step_limit(1.0, -0.1), "s"),
        (lambda: predicted_decrease(1.0, -1.0, 1.0), "update_norm"),
        (lambda: effective_momentum_bracket(1.0), "s"),
    ],
)
def test_arguments_without_meaning_are_rejected(call, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*; allowed: "):
        call()
