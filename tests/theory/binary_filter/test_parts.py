"""Responses, flip ratios, fading and symmetries of gradient filters, against simulations written out."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.binary_filter import flips, response
from boundcheck.theory.binary_filter.fade import extra_fade_steps, fade_steps
from boundcheck.theory.binary_filter.mappings import sgd_rates
from boundcheck.theory.binary_filter.symmetry import Latent, rescaled, rescaled_with_form_2, same_start


def simulated(rates, steps, weights=4000, seed=1, start=None):
    """Flip ratios (T,) of a chain of averages (outermost first) on white noise."""
    rng = np.random.default_rng(seed)
    state = np.zeros((len(rates), weights)) if start is None else start.copy()
    ratios, bits = [], np.where(-state[0] >= 0, 1, -1)
    for _ in range(steps):
        signal = rng.normal(size=weights)
        for i in reversed(range(len(rates))):
            state[i] = (1 - rates[i]) * state[i] + rates[i] * signal
            signal = state[i]
        new = np.where(-signal >= 0, 1, -1)
        ratios.append((new != bits).mean())
        bits = new
    return np.array(ratios)


@pytest.mark.parametrize(
    ("rates", "correlation", "expected"),
    [
        ((1e-1,), flips.first_order_correlation(1e-1), None),
        ((1e-2,), flips.first_order_correlation(1e-2), 0.04505),
        ((1e-1, 0.3), flips.second_order_correlation(1e-1, 0.3), None),
        ((1e-2, 0.1), flips.second_order_correlation(1e-2, 0.1), 0.01035),
        ((0.1, 0.2, 0.5), flips.third_order_correlation(0.1, 0.2, 0.5), None),
    ],
)
def test_flip_ratio_of_white_noise(rates, correlation, expected):
    found = simulated(rates, 1500)[600:].mean()
    predicted = flips.flip_ratio(correlation)
    assert found == pytest.approx(predicted, rel=0.04)
    if expected:
        assert predicted == pytest.approx(expected, abs=6e-6)


def test_correlations_are_those_of_the_impulse_response():
    """ρ = Σ h_t h_{t+1} / Σ h_t²."""

    def of(rates):
        h = response.impulse_response(rates, 4000)
        return h[:-1] @ h[1:] / (h @ h)

    assert flips.first_order_correlation(0.03) == pytest.approx(of([0.03]), rel=1e-12)
    assert flips.second_order_correlation(0.03, 0.2) == pytest.approx(of([0.03, 0.2]), rel=1e-12)
    assert flips.third_order_correlation(0.03, 0.2, 0.4) == pytest.approx(of([0.4, 0.03, 0.2]), rel=1e-12)
    assert flips.flip_ratio(flips.third_order_correlation(1e-3, 0.1, 0.1)) == pytest.approx(0.00231, abs=6e-6)
    rates = sgd_rates(0.1, 1e-2, 0.9)
    assert flips.sgd_correlation(0.1, 1e-2, 0.9) == pytest.approx(
        flips.second_order_correlation(rates.alpha, rates.gamma), rel=1e-12
    )
    assert flips.flip_ratio(flips.sgd_correlation(0.1, 1e-2, 0.9)) == pytest.approx(0.01033, abs=6e-6)
    for momentum, decay in ((0.5, 0.2), (0.9, 2.0)):
        v = inertia = 0.0
        h = []
        for t in range(4000):
            error = (t == 0) - inertia
            v = momentum * v + error
            inertia += 0.1 * decay * (error + momentum * v)
            h.append(inertia)
        h = np.array(h)
        assert flips.nesterov_correlation(0.1, decay, momentum) == pytest.approx(h[:-1] @ h[1:] / (h @ h), rel=1e-10)


@pytest.mark.parametrize(
    ("rates", "correlation"),
    [
        ((0.02,), flips.first_order_correlation(0.02)),
        ((0.02, 0.3), flips.second_order_correlation(0.02, 0.3)),
        ((0.02, 0.3, 0.6), flips.third_order_correlation(0.02, 0.3, 0.6)),
        ((0.05, 0.05, 0.05), flips.third_order_correlation(0.05, 0.05, 0.05)),
    ],
)
def test_scheduled_flip_ratio_starts_at_a_half_and_ends_stationary(rates, correlation):
    ratios = flips.scheduled_flip_ratio(np.full(3000, rates[0]), *rates[1:])
    assert ratios[0] == 0.5
    assert ratios[-1] == pytest.approx(flips.flip_ratio(correlation), rel=1e-9)


def test_second_step_from_a_start_of_zero():
    """I_1 = αγ g_1, I_2 = αγ g_2 + (2−α−γ)αγ g_1: their correlation is 1/√(1 + 1/(2−α−γ)²)."""
    c = 2 - 0.02 - 0.3
    expected = np.arccos(c / np.sqrt(1 + c**2)) / np.pi
    assert flips.scheduled_flip_ratio(np.full(2, 0.02), 0.3)[1] == pytest.approx(expected, rel=1e-12)
    c += 1 - 0.6  # a third pole adds to the sum
    expected = np.arccos(c / np.sqrt(1 + c**2)) / np.pi
    assert flips.scheduled_flip_ratio(np.full(2, 0.02), 0.3, 0.6)[1] == pytest.approx(expected, rel=1e-12)


def test_a_rate_of_one_is_no_average():
    alpha = np.linspace(0.05, 0.01, 50)
    one, two = flips.scheduled_flip_ratio(alpha), flips.scheduled_flip_ratio(alpha, 0.2)
    assert np.array_equal(one, flips.scheduled_flip_ratio(alpha, 1.0, 1.0))
    np.testing.assert_allclose(flips.scheduled_flip_ratio(alpha, 1.0, 0.2), two, rtol=1e-12)


STEPS, WEIGHTS = 300, 20000
COSINE = (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2


def windows(ratios, width=30):
    """Means over windows without the last tenth, where the simulation is too coarse."""
    used = len(ratios) * 9 // 10 // width * width
    return np.asarray(ratios)[:used].reshape(-1, width).mean(1)


@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.2, 1.0), (0.2, 0.4)], ids=["order 1", "order 2", "order 3"])
@pytest.mark.parametrize("start", [0.0, 0.3])
def test_scheduled_flip_ratio_is_that_of_a_simulation(rates, start):
    alpha, (gamma, delta) = 0.05 * COSINE, rates
    rng = np.random.default_rng(0)
    inertia, momentum, inner = start * rng.normal(size=WEIGHTS), np.zeros(WEIGHTS), np.zeros(WEIGHTS)
    found, bits = [], -inertia >= 0
    for a in alpha:
        inner = (1 - delta) * inner + delta * rng.normal(size=WEIGHTS)
        momentum = (1 - gamma) * momentum + gamma * inner
        inertia = (1 - a) * inertia + a * momentum
        found.append(((-inertia >= 0) != bits).mean())
        bits = -inertia >= 0
    predicted = flips.scheduled_flip_ratio(alpha, gamma, delta, start_variance=start**2)
    assert windows(found) == pytest.approx(windows(predicted), rel=0.1)
    assert found[1] == pytest.approx(predicted[1], abs=0.01)


SGD_FORMS = {
    "plain": (0.01, 0.0, 0.0, False),
    "momentum": (0.01, 0.8, 0.0, False),
    "complex poles": (0.3, 0.9, 0.0, False),
    "dampening": (0.02, 0.8, 0.5, False),
    "nesterov": (0.01, 0.8, 0.0, True),
}


@pytest.mark.parametrize("form", SGD_FORMS.values(), ids=SGD_FORMS)
def test_scheduled_flip_ratio_of_sgd_is_that_of_a_simulation(form):
    """torch's conventions on latent weights, whose start is large."""
    rate, momentum, dampening, nesterov = form
    lr, decay = 0.5, rate / 0.5
    rng = np.random.default_rng(0)
    w, v = 5.0 * rng.normal(size=WEIGHTS), None
    inertia_variance = (decay * 5.0) ** 2
    found, bits = [], w >= 0
    for factor in COSINE:
        u = rng.normal(size=WEIGHTS) + decay * w
        v = u if v is None else momentum * v + (1 - dampening) * u
        w = w - lr * factor * (u + momentum * v if nesterov else v)
        found.append(((w >= 0) != bits).mean())
        bits = w >= 0
    arguments = (momentum, dampening, nesterov)
    predicted = flips.scheduled_sgd_flip_ratio(rate * COSINE, *arguments, start_variance=inertia_variance)
    assert windows(found) == pytest.approx(windows(predicted), rel=0.1)
    assert found[0] == pytest.approx(predicted[0], abs=0.01)


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_sgd_ends_at_its_stationary_flip_ratio(rate):
    for nesterov, correlation in ((False, flips.sgd_correlation), (True, flips.nesterov_correlation)):
        ratios = flips.scheduled_sgd_flip_ratio(np.full(3000, rate), 0.9, nesterov=nesterov)
        assert ratios[-1] == pytest.approx(flips.flip_ratio(correlation(0.1, rate / 0.1, 0.9)), rel=1e-8)


def test_sgd_at_a_constant_rate_is_its_cascade_at_every_step():
    """M_0 = I_0, as the weight decay of the start enters the momentum too."""
    lr, decay, momentum, variance = 0.1, 1e-2, 0.9, 0.04
    rates = sgd_rates(lr, decay, momentum)
    cascade = {"start_variance": variance, "start_momentum": variance}
    expected = flips.scheduled_flip_ratio(np.full(500, rates.alpha), rates.gamma, **cascade)
    found = flips.scheduled_sgd_flip_ratio(np.full(500, lr * decay), momentum, start_variance=variance)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_sgd_without_momentum_is_one_average():
    rate = 0.05 * COSINE
    expected = flips.scheduled_flip_ratio(rate, start_variance=0.3)
    np.testing.assert_allclose(flips.scheduled_sgd_flip_ratio(rate, start_variance=0.3), expected, rtol=1e-10)


def test_a_large_start_fades_after_the_predicted_steps():
    lr, decay, std = 0.5, 0.02, 1.0  # alpha 0.01
    fade = fade_steps([0.01, 100.0, 1000.0], lr, decay, std)
    assert fade.is_delayed.tolist() == [False, True, True]
    assert fade.steps[0] == 0
    assert fade.steps[2] - fade.steps[1] == pytest.approx(np.log(10) / 0.01)
    assert extra_fade_steps(10, 0.01) == pytest.approx(np.log(10) / -np.log(0.99))
    for latent, steps in zip((100.0, 1000.0), fade.steps[1:], strict=True):
        start = -decay * latent * np.ones((1, 2000))
        ratios = simulated((lr * decay,), 1200, weights=2000, start=start)
        halfway = np.argmax(np.cumsum(ratios) > 0.3)  # three in ten flips a weight
        assert halfway == pytest.approx(steps, rel=0.2)


def test_frequency_response_is_that_of_a_sinusoid():
    frequency, rates = 0.3, [0.05, 0.2, 0.7]
    t = np.arange(4000)
    signal = np.exp(1j * frequency * t)
    for rate in rates:
        out, value = [], 0
        for x in signal:
            value = (1 - rate) * value + rate * x
            out.append(value)
        signal = np.array(out)
    found = signal[-1] / np.exp(1j * frequency * t[-1])
    assert response.frequency_response(rates, frequency) == pytest.approx(found, rel=1e-10)
    assert response.frequency_response(rates, 0.0) == pytest.approx(1)


@pytest.mark.parametrize(("nesterov", "decay"), [(False, 0.01), (True, 0.01), (False, 0.5)])
def test_frequency_response_of_sgd(nesterov, decay):
    """Also where the poles are complex."""
    lr, momentum, frequency = 0.1, 0.9, 0.2
    v = w = 0
    t = np.arange(20000)
    for x in np.exp(1j * frequency * t):
        u = x + decay * w
        v = momentum * v + u
        w = w - lr * (u + momentum * v if nesterov else v)
    found = -decay * w / np.exp(1j * frequency * t[-1])
    assert response.sgd_frequency_response(lr, decay, momentum, frequency, nesterov) == pytest.approx(found, rel=1e-6)


def test_the_cascade_and_sgd_are_one_filter():
    rates, frequencies = sgd_rates(0.1, 1e-2, 0.9), np.linspace(0, np.pi, 50)
    cascade = response.frequency_response([float(rates.alpha), float(rates.gamma)], frequencies)
    np.testing.assert_allclose(cascade, response.sgd_frequency_response(0.1, 1e-2, 0.9, frequencies), rtol=1e-10)


def test_cutoff_halves_the_power():
    cutoff = response.cutoff_frequency(0.05)
    assert np.abs(response.frequency_response([0.05], cutoff)) ** 2 == pytest.approx(0.5)
    assert np.isnan(response.cutoff_frequency(0.95))


def test_impulse_response_sums_to_one_and_has_the_response_as_its_transform():
    h = response.impulse_response([0.1, 0.4], 800)
    assert h.sum() == pytest.approx(1)
    transform = h @ np.exp(-1j * 0.7 * np.arange(800))
    assert transform == pytest.approx(response.frequency_response([0.4, 0.1], 0.7))


@pytest.mark.parametrize("rates", [[0.0], [0.5, 1.2], [-0.1]])
def test_rates_outside_the_unit_interval_are_refused(rates):
    with pytest.raises(ValueError, match=r"rates: got .*; allowed: in \(0, 1\]"):
        response.frequency_response(rates, 0.1)
    with pytest.raises(ValueError, match="rates"):
        response.impulse_response(rates, 3)


def latent_bits(init_scale, lr, decay, momentum=0.9, form_2=False, steps=200):
    rng = np.random.default_rng(3)
    w = (init_scale * rng.uniform(-1, 1, 500)).astype(np.float32)
    v, history = np.zeros_like(w), []
    for _ in range(steps):
        g = (rng.normal(size=500) + 0.3 * np.roll(np.where(w >= 0, 1, -1), 1)).astype(np.float32)
        g = g / np.abs(w).mean(dtype=np.float32) if form_2 else g
        v = np.float32(momentum) * v + g + np.float32(decay) * w
        w = w - np.float32(lr) * v
        history.append(w >= 0)
    return np.array(history)


@pytest.mark.parametrize("scale", [0.25, 4.0, 1024.0])
def test_the_magnitude_is_without_meaning_bit_for_bit(scale):
    base = Latent(*np.array([0.5, 0.125, 0.0625]))
    assert np.array_equal(latent_bits(*base), latent_bits(*rescaled(base, scale)))
    assert np.array_equal(latent_bits(*base, form_2=True), latent_bits(*rescaled_with_form_2(base, scale), form_2=True))
    # the other family's change, and a learning rate without its start, are other trainings
    assert not np.array_equal(latent_bits(*base, form_2=True), latent_bits(*rescaled(base, scale), form_2=True))
    moved = rescaled(base, scale)._replace(init_scale=base.init_scale)
    assert not np.array_equal(latent_bits(*base), latent_bits(*moved))


def test_symmetry_arguments():
    assert same_start(0.4, 0.1) == pytest.approx(4)
    with pytest.raises(ValueError, match="scale: got 0; allowed: > 0"):
        rescaled(Latent(*np.ones(3)), 0.0)
    with pytest.raises(ValueError, match="gradient_std: got 0; allowed: > 0"):
        fade_steps(1.0, 0.1, 0.1, 0.0)
