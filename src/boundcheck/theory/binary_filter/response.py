"""What a gradient filter lets through: transfer functions, frequency responses, impulse responses.

A chain of n averages x_i ← (1−a_i) x_i + a_i x_{i−1} has H(z) = ∏ a_i / (1 − (1−a_i) z⁻¹); the last one's sign decides
the bit. Frequencies ω are in radians per step. Derived here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject

ComplexArray = npt.NDArray[np.complex128]


def frequency_response(rates: Sequence[float], frequency: npt.ArrayLike) -> ComplexArray:
    """H(e^{iω}) = ∏ a_i / (1 − (1−a_i) e^{−iω}) of a chain of averages; H(1) = 1, |H| falls to the half rate π.

    Args:
        rates: a_1 … a_n in (0, 1], in any order; a rate of 1 is no average, so the order of the filter is the number
            of the others.
        frequency: ω, radians per step.

    Raises:
        ValueError: a rate outside (0, 1].
    """
    _check(rates)
    delay = np.exp(-1j * floats(frequency)[0])
    response = np.ones_like(delay)
    for rate in rates:
        response = response * rate / (1 - (1 - rate) * delay)
    return response


def sgd_frequency_response(
    lr: float, weight_decay: float, momentum: float, frequency: npt.ArrayLike, nesterov: bool = False
) -> ComplexArray:
    """Response of −λw to g for torch's SGD, real poles or not.

    H = β N(z) / (1 − (1+μ−β) z⁻¹ + μ z⁻²) with β = ελ, N = 1; Nesterov: N = 1 + μ − μz⁻¹ and the denominator
    1 − (1+μ)(1−β) z⁻¹ + μ(1−β) z⁻².
    """
    beta = lr * weight_decay
    delay = np.exp(-1j * floats(frequency)[0])
    if nesterov:
        numerator = 1 + momentum - momentum * delay
        return beta * numerator / (1 - (1 + momentum) * (1 - beta) * delay + momentum * (1 - beta) * delay**2)
    return beta / (1 - (1 + momentum - beta) * delay + momentum * delay**2)


def impulse_response(rates: Sequence[float], steps: int) -> FloatArray:
    """h_0 … h_{T−1} of a chain of averages: what a single unit gradient leaves in the inertia after each step.

    Args:
        rates: a_1 … a_n in (0, 1].
        steps: T.

    Raises:
        ValueError: a rate outside (0, 1].
    """
    _check(rates)
    response = np.zeros(steps)
    response[0] = 1.0
    for rate in rates:
        value = 0.0
        for t in range(steps):
            value = (1 - rate) * value + rate * response[t]
            response[t] = value
    return response


def cutoff_frequency(rate: npt.ArrayLike) -> FloatArray:
    """ω at which one average halves the power: cos ω = 1 − a²/(2(1−a)); ≈ a for a small rate; NaN where none does.

    |H|² = a²/(1 − 2(1−a)cos ω + (1−a)²) = ½.
    """
    (rate,) = floats(rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arccos(1 - rate**2 / (2 * (1 - rate)))


def _check(rates: Sequence[float]) -> None:
    for rate in rates:
        reject("rates", rate, not 0 < rate <= 1, "in (0, 1]")
