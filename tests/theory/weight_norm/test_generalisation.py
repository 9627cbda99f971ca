"""The Rademacher bound, against what gradient ascent finds on random signs, and the gap bound built on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from boundcheck.theory.weight_norm.activation import SMOOTH
from boundcheck.theory.weight_norm.generalisation import (
    generalisation_gap_bound,
    prediction_bound,
    rademacher_bound,
)


def attained_complexity(activation, depth, width, num, dimension, steps=40, draws=12):
    """E_ε max_θ (1/n) Σ ε_i f(x_i), ‖v‖ = 1, from below: gradient ascent for several draws of signs at once."""
    generator = torch.Generator().manual_seed(depth)
    x = torch.randn(num, dimension, generator=generator, dtype=torch.float64)
    x = x * math.sqrt(dimension) / x.norm(dim=1, keepdim=True)
    signs = torch.randint(2, (draws, num), generator=generator).double() * 2 - 1
    sizes = [dimension, *[width] * depth]
    weights = [
        torch.randn(draws, m, n, generator=generator, dtype=torch.float64).requires_grad_()
        for m, n in zip(sizes[1:], sizes, strict=False)
    ]
    optimizer = torch.optim.Adam(weights, lr=0.1)
    for _ in range(steps):
        a = x.expand(draws, -1, -1)
        for w in weights:
            a = SMOOTH[activation].value(a @ (w / w.norm(dim=-1, keepdim=True)).mT / math.sqrt(a.shape[-1]))
        # the best v is in the direction of Σ ε_i a(x_i)
        value = (signs.unsqueeze(-1) * a).mean(1).norm(dim=-1) / math.sqrt(width)
        optimizer.zero_grad()
        (-value.sum()).backward()
        optimizer.step()
    return value.mean().item()


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("depth", [1, 2])
def test_rademacher_bound_is_above_what_ascent_attains(activation, depth, assert_bound):
    found = attained_complexity(activation, depth, width=4, num=24, dimension=3)
    assert_bound(found, rademacher_bound(24, 1.0, depth, SMOOTH[activation], 1.0), tightness=(1.5, 60.0))


def test_rademacher_bound_of_a_centred_activation_by_hand():
    found = rademacher_bound(100, 2.0, 3, SMOOTH["tanh"], 1.5)
    assert found == pytest.approx(2 * 1.5 * (1 + math.sqrt(6 * math.log(2))) / 10)


def test_rademacher_bound_of_softplus_by_hand():
    h1 = math.log1p(math.exp(1.0))
    k1, k2 = 1 / (1 + math.exp(-1.0)), 1 / (1 + math.exp(-h1))
    e2 = k2 * (k1 + math.log(2)) + math.log(2)
    expected = (k1 * k2 + math.sqrt(4 * math.log(2)) * e2) / math.sqrt(50)
    assert rademacher_bound(50, 1.0, 2, SMOOTH["softplus"], 1.0) == pytest.approx(expected)


def test_growth_in_depth_and_n():
    deep, deeper = (rademacher_bound(1, 1.0, depth, SMOOTH["tanh"], 1.0) for depth in (10_000, 40_000))
    assert deeper / deep == pytest.approx(2, rel=0.01)  # √L
    few, many = (generalisation_gap_bound(n, [1.0, 0.5], 2, SMOOTH["tanh"], 1.0) for n in (100, 400))
    assert few / many == pytest.approx(2)


def test_predictions_stay_below_their_bound():
    generator = torch.Generator().manual_seed(0)
    for activation in SMOOTH:
        a = torch.randn(200, 5, generator=generator, dtype=torch.float64)
        a = a * math.sqrt(5) / a.norm(dim=1, keepdim=True)
        for _ in range(3):
            w = torch.randn(6, a.shape[1], generator=generator, dtype=torch.float64)
            w = torch.cat([w, a[:1]])  # a row along an input
            a = SMOOTH[activation].value(a @ (w / w.norm(dim=1, keepdim=True)).T / math.sqrt(a.shape[1]))
        largest = (a.norm(dim=1) / math.sqrt(a.shape[1])).max().item()
        assert largest <= prediction_bound(1.0, 3, SMOOTH[activation], 1.0)


def test_gap_bound_by_hand():
    n, norm, delta = 500, 4.0, 0.05 / (3 * 4)  # ‖v‖ = 2.5 needs j = 2
    h = math.tanh(math.tanh(1.0))
    complexity = rademacher_bound(n, norm, 2, SMOOTH["tanh"], 1.0)
    reach = norm * h + 1
    one = 4 * reach * complexity + 3 * reach**2 * math.sqrt(math.log(2 / delta) / (2 * n))
    found = generalisation_gap_bound(n, [2.5, 0.1, 1.0], 2, SMOOTH["tanh"], 1.0)
    assert found == pytest.approx(3 * one)


def test_confidences_of_all_classes_add_up():
    j = np.arange(10**6, dtype=np.float64)
    assert (1 / ((j + 1) * (j + 2))).sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="confidence: got 1"):
        generalisation_gap_bound(10, [1.0], 1, SMOOTH["tanh"], 1.0, confidence=1)
