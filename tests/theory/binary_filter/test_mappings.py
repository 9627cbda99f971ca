"""Every row of the map from latent training to filters: latent weights written out, and the bits of the filter."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.binary_filter.mappings import (
    filter_at_held_rate,
    filter_of_averaged_momentum,
    filter_of_dampened_sgd,
    filter_of_heavy_ball,
    filter_of_nesterov,
    filter_of_sgd,
    filter_of_torch_sgd,
    filter_without_decay,
    largest_real_rate,
    nesterov_rates,
    riccati_rates,
    sgd_rates,
    state_space_of_sgd,
)

STEPS, WEIGHTS = 400, 1500
CONSTANT = np.full(STEPS, 0.5)
COSINE = 0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2
STEPPED = np.where(np.arange(STEPS) < STEPS // 2, 0.5, 0.05)
WARMED = COSINE * np.minimum(1, np.arange(1, STEPS + 1) / 40)
SCHEDULES = {"constant": CONSTANT, "cosine": COSINE, "stepped": STEPPED, "warmed": WARMED}
schedules = pytest.mark.parametrize("lrs", SCHEDULES.values(), ids=SCHEDULES)


class Problem:
    """Gradients that depend on the bits: a mismatch feeds back, as in a network."""

    def __init__(self):
        rng = np.random.default_rng(4)
        self.start = rng.uniform(-0.5, 0.5, WEIGHTS)
        self.coupling = rng.normal(size=(40, WEIGHTS)) / np.sqrt(WEIGHTS)
        self.noise = rng.normal(size=(STEPS, WEIGHTS))

    def gradient(self, t, bits):
        return self.noise[t] + 3 * np.tanh(self.coupling @ bits) @ self.coupling

    def bits(self, update):
        """Bits (T+1, n) of a training; `update(t, g)` returns what the bits are the sign of."""
        history = [sign(self.start)]
        for t in range(STEPS):
            history.append(sign(update(t, self.gradient(t, history[-1]))))
        return np.array(history)


@pytest.fixture(scope="module")
def problem():
    return Problem()


def sign(w):
    return np.where(w >= 0, 1.0, -1.0)


def torch_sgd(start, lrs, weight_decay, momentum=0.0, dampening=0.0, nesterov=False):
    """torch's conventions, written out."""
    w, v = start.copy(), None
    dampening = dampening if momentum else 0.0

    def update(t, g):
        nonlocal w, v
        u = g + weight_decay * w
        v = u if v is None else momentum * v + (1 - dampening) * u
        w = w - lrs[t] * (u + momentum * v if nesterov else v)
        return w

    return update


def decoupled(start, lrs, weight_decays, momentum, share):
    w, v = start.copy(), np.zeros_like(start)

    def update(t, g):
        nonlocal w, v
        v = momentum * v + share * g
        w = (1 - lrs[t] * weight_decays[t]) * w - lrs[t] * v
        return w

    return update


def cascade(start, found, inputs=lambda g: g):
    inertia, momentum = -found.inertia * start, -found.momentum * start

    def update(t, g):
        nonlocal inertia, momentum
        momentum = (1 - found.gamma[t]) * momentum + found.gamma[t] * inputs(g)
        inertia = found.keep[t] * (1 - found.alpha[t]) * inertia + found.alpha[t] * momentum
        return -inertia

    return update


def state_space(start, found):
    inertia, v = -found.inertia * start, None

    def update(t, g):
        nonlocal inertia, v
        error = g - inertia
        v = error if v is None else found.momentum * v + (1 - found.dampening) * error
        inertia = inertia + found.rate[t] * (error + found.momentum * v if found.nesterov else v)
        return -inertia

    return update


def extrapolated(before, momentum):
    """What Nesterov's momentum makes of the gradients, `before` being the one before the first."""

    def inputs(g):
        nonlocal before
        fed, before = (1 + momentum) * g - momentum * before, g
        return fed

    return inputs


def mismatches(problem, latent, filtered):
    a, b = problem.bits(latent), problem.bits(filtered)
    assert (a[1:] != a[:-1]).sum() > 1000  # many bits flip
    return int((a != b).sum())


DECAY = 0.02


@schedules
def test_sgd_is_an_average(problem, lrs):
    latent = torch_sgd(problem.start, lrs, DECAY)
    assert mismatches(problem, latent, cascade(problem.start, filter_of_sgd(lrs, DECAY))) == 0


@schedules
def test_averaged_momentum_is_a_second_average(problem, lrs):
    latent = decoupled(problem.start, lrs, np.full(STEPS, DECAY), 0.8, 0.2)
    assert mismatches(problem, latent, cascade(problem.start, filter_of_averaged_momentum(lrs, DECAY, 0.2))) == 0


@schedules
def test_heavy_ball_with_decoupled_decay(problem, lrs):
    latent = decoupled(problem.start, lrs, np.full(STEPS, DECAY), 0.8, 1.0)
    assert mismatches(problem, latent, cascade(problem.start, filter_of_heavy_ball(lrs, DECAY, 0.8))) == 0


@schedules
def test_torch_sgd_with_momentum(problem, lrs):
    latent = torch_sgd(problem.start, lrs, DECAY, 0.8)
    assert mismatches(problem, latent, cascade(problem.start, filter_of_torch_sgd(lrs, DECAY, 0.8))) == 0


def test_dampening_needs_its_first_step(problem):
    latent = torch_sgd(problem.start, CONSTANT, DECAY, 0.8, dampening=0.6)
    found = filter_of_dampened_sgd(0.5, DECAY, 0.8, 0.6, STEPS)
    assert mismatches(problem, latent, cascade(problem.start, found)) == 0
    without = found._replace(gamma=np.full(STEPS, found.gamma[1]))
    latent = torch_sgd(problem.start, CONSTANT, DECAY, 0.8, dampening=0.6)
    assert mismatches(problem, latent, cascade(problem.start, without)) > 0


def test_nesterov_at_a_constant_rate(problem):
    latent = torch_sgd(problem.start, CONSTANT, DECAY, 0.8, nesterov=True)
    found = filter_of_nesterov(0.5, DECAY, 0.8, STEPS)
    inputs = extrapolated(-DECAY * problem.start, 0.8)
    assert mismatches(problem, latent, cascade(problem.start, found, inputs)) == 0


@schedules
@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov", "decay"),
    [
        (0.8, 0.0, False, DECAY),
        (0.8, 0.6, False, DECAY),
        (0.8, 0.0, True, DECAY),
        (0.9, 0.0, False, 0.3),
        (0, 0, 0, 0.1),
        (0.0, 0.6, False, 0.1),
    ],
    ids=["momentum", "dampening", "nesterov", "complex", "plain", "dampening without momentum"],
)
def test_the_state_space_form_is_exact_for_all(problem, lrs, momentum, dampening, nesterov, decay):
    latent = torch_sgd(problem.start, lrs, decay, momentum, dampening, nesterov)
    found = state_space_of_sgd(lrs, decay, momentum, dampening, nesterov)
    assert mismatches(problem, latent, state_space(problem.start, found)) == 0


@schedules
@pytest.mark.parametrize("start", [0.01, 1.0, 30.0])
def test_without_decay_any_gauge_will_do(problem, lrs, start):
    latent = torch_sgd(problem.start, lrs, 0.0, 0.8)
    assert mismatches(problem, latent, cascade(problem.start, filter_without_decay(lrs, 0.8, start=start))) == 0


@schedules
def test_without_decay_a_dampened_momentum_is_an_average_too(problem, lrs):
    latent = torch_sgd(problem.start, lrs, 0.0, 0.8, dampening=0.9)
    found = filter_without_decay(lrs, 0.8, 0.9)
    assert mismatches(problem, latent, cascade(problem.start, found)) == 0
    latent = torch_sgd(problem.start, lrs, 0.0, 0.8, dampening=0.9)
    late = found._replace(gamma=np.full(STEPS, found.gamma[1]))
    assert mismatches(problem, latent, cascade(problem.start, late)) > 0


@schedules
def test_without_decay_nesterov_is_fed_with_extrapolated_gradients(problem, lrs):
    latent = torch_sgd(problem.start, lrs, 0.0, 0.8, nesterov=True)
    found = filter_without_decay(lrs, 0.8)
    assert mismatches(problem, latent, cascade(problem.start, found, extrapolated(0.0, 0.8))) == 0


@schedules
def test_without_decay_an_averaged_momentum_has_the_start_itself(problem, lrs):
    latent = decoupled(problem.start, lrs, np.zeros(STEPS), 0.8, 0.2)
    found = filter_without_decay(lrs, 0.8)._replace(inertia=1.0)
    assert mismatches(problem, latent, cascade(problem.start, found)) == 0


@schedules
def test_decay_at_a_held_rate_needs_keep(problem, lrs):
    alpha = 0.01
    found = filter_at_held_rate(lrs, alpha, 0.2)
    latent = decoupled(problem.start, lrs, alpha / lrs, 0.8, 0.2)
    assert mismatches(problem, latent, cascade(problem.start, found)) == 0
    heavy_ball = decoupled(problem.start, lrs, alpha / lrs, 0.8, 1.0)
    scaled = found._replace(inertia=0.2 * found.inertia)
    assert mismatches(problem, heavy_ball, cascade(problem.start, scaled)) == 0
    if lrs is not CONSTANT:
        latent = decoupled(problem.start, lrs, alpha / lrs, 0.8, 0.2)
        plain = found._replace(keep=np.ones(STEPS))
        assert mismatches(problem, latent, cascade(problem.start, plain)) > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found._replace(momentum=0.0),
        lambda found: found._replace(inertia=0.0, momentum=0.0),
        lambda found: found._replace(alpha=0.5 * DECAY * np.ones(STEPS), gamma=0.2 * np.ones(STEPS)),
        lambda found: found._replace(alpha=0.5 * DECAY / 0.2 * np.ones(STEPS), gamma=0.2 * np.ones(STEPS)),
    ],
    ids=["no first momentum", "start of zero", "alpha = lr wd", "alpha = lr wd / (1 - momentum)"],
)
def test_a_wrong_row_is_seen(problem, change):
    latent = torch_sgd(problem.start, CONSTANT, DECAY, 0.8)
    found = change(filter_of_torch_sgd(CONSTANT, DECAY, 0.8))
    assert mismatches(problem, latent, cascade(problem.start, found)) > 0


def test_a_schedule_needs_riccati_rates(problem):
    latent = torch_sgd(problem.start, COSINE, DECAY, 0.8)
    frozen = sgd_rates(COSINE, DECAY, 0.8)
    found = filter_of_torch_sgd(COSINE, DECAY, 0.8)._replace(alpha=frozen.alpha, gamma=frozen.gamma)
    assert mismatches(problem, latent, cascade(problem.start, found)) > 0


def test_rates_are_roots():
    """The figures of the derivation for lr 0.1, weight decay 1e-4, momentum 0.9."""
    rates = sgd_rates(0.1, 1e-4, 0.9)
    assert rates.alpha == pytest.approx(1.000902e-4, rel=1e-6)
    assert rates.gamma == pytest.approx(0.0999099, rel=1e-6)
    assert rates.alpha * rates.gamma == pytest.approx(1e-5, rel=1e-12)
    assert (1 - rates.alpha) * (1 - rates.gamma) == pytest.approx(0.9, rel=1e-12)
    nesterov = nesterov_rates(0.1, 1e-2, 0.9)
    assert nesterov.alpha * nesterov.gamma == pytest.approx(1e-3, rel=1e-12)
    assert (1 - nesterov.alpha) * (1 - nesterov.gamma) == pytest.approx(0.9 * (1 - 1e-3), rel=1e-12)


def test_without_momentum_there_is_nothing_to_dampen():
    assert sgd_rates(0.1, 0.2, 0.0, 0.5) == pytest.approx((0.02, 1.0))
    assert filter_of_dampened_sgd(0.1, 0.2, 0.0, 0.5, 3).gamma == pytest.approx(1.0)
    assert filter_without_decay([0.1, 0.2], 0.0, 0.5).gamma == pytest.approx(1.0)


def test_where_the_rates_stop_being_real():
    assert largest_real_rate(0.9) == pytest.approx(0.002633, abs=5e-7)
    assert largest_real_rate(0.99) == pytest.approx(2.5e-5, abs=5e-7)
    for momentum in (0.5, 0.9, 0.99):
        limit = largest_real_rate(momentum)
        assert np.isfinite(sgd_rates(1.0, limit * (1 - 1e-6), momentum).alpha)
        assert np.isnan(sgd_rates(1.0, limit * (1 + 1e-6), momentum).alpha)
    with pytest.raises(ValueError, match=r"lrs: got 0\.5; allowed: lr"):
        filter_of_torch_sgd([0.5], 0.3, 0.9)


def test_constant_rates_are_the_fixed_point_of_riccati():
    rates = sgd_rates(0.5, DECAY, 0.8)
    alpha, gamma = riccati_rates(float(rates.gamma), float(rates.alpha), 0.5 * DECAY, 0.8)
    assert (alpha, gamma) == pytest.approx((float(rates.alpha), float(rates.gamma)), rel=1e-13)


def test_a_gauge_must_be_positive():
    with pytest.raises(ValueError, match="start: got 0; allowed: > 0"):
        filter_without_decay([0.1], start=0.0)
    with pytest.raises(ValueError, match="dampening: got 1; allowed: in"):
        filter_without_decay([0.1], 0.9, 1.0)
