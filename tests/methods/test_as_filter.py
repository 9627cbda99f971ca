"""Which filter of gradients a method for binary networks says it is: its flip ratio and its frequency response."""

import numpy as np
import pytest
import torch
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.models import MODELS
from boundcheck.registry import build
from boundcheck.theory.binary_filter.flips import (
    filter_flip_ratio,
    scheduled_flip_ratio,
    scheduled_sgd_flip_ratio,
)
from boundcheck.theory.binary_filter.mappings import filter_at_held_rate
from boundcheck.theory.binary_filter.response import frequency_response, sgd_frequency_response

REAL = {"kind": "adamw", "lr": 0.01}
FACTORS = np.linspace(1.0, 0.2, 50)
CONSTANT = np.ones(50)
FILTER = {"kind": "gradient_filter", "alpha": 0.02, "gamma": 0.3}
PRESET = {"initial_state": "preset", "initial_inertia": 0.5}
LATENT = {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.1, "real": REAL}
DECOUPLED = {"kind": "latent_sgd_decoupled", "lr": 0.5, "weight_decay": 0.2, "momentum": 0.6}
VARIANCE = 0.75  # of U(-0.3, 0.3) in units of a gradient's 0.04


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ({"kind": "bop", "gamma": 0.1}, scheduled_flip_ratio(0.1 * FACTORS)),
        ({"kind": "bop", "gamma": 0.1, "decay": False}, scheduled_flip_ratio(0.1 * CONSTANT)),
        ({"kind": "bop", "gamma": 0.1, "threshold": 1e-3}, None),
        (FILTER, scheduled_flip_ratio(0.02 * FACTORS, 0.3)),
        (FILTER | {"decay": ["gamma"]}, scheduled_flip_ratio(0.02 * CONSTANT, 0.3 * FACTORS)),
        (FILTER | {"delta": 0.5}, scheduled_flip_ratio(0.02 * FACTORS, 0.3, 0.5)),
        (FILTER | PRESET, scheduled_flip_ratio(0.02 * FACTORS, 0.3, start_variance=0.1875, start_momentum=0.1875)),
        (DECOUPLED, scheduled_flip_ratio(0.1 * FACTORS, 0.4, start_variance=0.03)),
        (DECOUPLED | {"form": "heavy_ball"}, scheduled_flip_ratio(0.1 * FACTORS, 0.4, start_variance=0.0048)),
        (DECOUPLED | {"hold_rate": True}, None),
        (DECOUPLED | {"clip": True}, None),
        (
            LATENT | {"momentum": 0.9, "nesterov": True},
            scheduled_sgd_flip_ratio(0.01 * FACTORS, 0.9, nesterov=True, start_variance=0.0075),
        ),
        (
            LATENT | {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.2},
            scheduled_sgd_flip_ratio(0.02 * FACTORS, 0.9, 0.5, start_variance=0.03),
        ),
        (LATENT | {"dampening": 0.5}, scheduled_sgd_flip_ratio(0.01 * FACTORS, start_variance=0.0075)),
        (LATENT | {"weight_decay": 0.0}, None),
        (LATENT | {"clip": True}, None),
        (
            {"kind": "state_space_filter", "rate": 0.3, "momentum": 0.9},
            scheduled_sgd_flip_ratio(0.3 * FACTORS, 0.9),
        ),
        (
            {"kind": "state_space_filter", "rate": 0.3, "dampening": 0.2, "initial_inertia": 0.5},
            scheduled_sgd_flip_ratio(0.3 * FACTORS, 0.0, 0.2, start_variance=0.1875),
        ),
        (
            {"kind": "mapped_filter", "latent": LATENT},
            scheduled_sgd_flip_ratio(0.01 * FACTORS, start_variance=0.0075),
        ),
        ({"kind": "mapped_filter", "latent": LATENT | {"momentum": 0.5}, "mapping": "product"}, None),
        ({"kind": "latent_adamw", "lr": 0.1, "weight_decay": 0.1}, None),
        ({"kind": "latent_adam", "lr": 0.1}, None),
    ],
)
def test_flip_ratio_of_each_method(variant, expected):
    own = {} if variant["kind"] == "mapped_filter" else {"real": REAL}
    mapped = build(METHODS, variant | own).as_filter(FACTORS)
    assert (mapped is None) == (expected is None)
    if mapped is not None:
        np.testing.assert_allclose(filter_flip_ratio(mapped, VARIANCE), expected, rtol=1e-12)


def test_a_moving_weight_decay_has_no_flip_ratio():
    with pytest.raises(ValueError, match=r"keep: got 1.* allowed: 1 at every step"):
        filter_flip_ratio(filter_at_held_rate(0.1 * FACTORS, 0.01, 0.3))


@pytest.mark.parametrize(
    ("settings", "passes_on", "cancels"),
    [
        ({}, True, True),
        ({"weight_gradient": "clipped"}, False, True),
        ({"scaling": "form_1"}, True, False),
        ({"scaling": "form_2"}, False, False),
    ],
)
@pytest.mark.parametrize("kind", ["binary_mlp", "birealnet", "reactnet"])
def test_what_binary_models_say_of_their_latent_weights(kind, settings, passes_on, cancels):
    sizes = {"binary_mlp": {"depth": 1, "width": 4}, "birealnet": {"depth": 8}}.get(kind, {})
    model = build(MODELS, {"kind": kind, **sizes, **settings, "init_scale": 0.3})
    assert (model.passes_gradient_on, model.cancels_scale) == (passes_on, cancels)
    assert model.latent_variance() == pytest.approx(0.03)
    assert model.latent_variance(2.0) == pytest.approx(0.12)
    zeros = build(MODELS, {"kind": kind, **sizes, "init": "zero"})
    assert zeros.latent_variance() == 0


def test_a_normalisation_without_epsilon_cancels_the_scale():
    variant = {"kind": "binary_mlp", "depth": 1, "width": 4, "scaling": "form_1", "batch_norm_eps": 1e-30}
    assert build(MODELS, variant).cancels_scale


def impulse_response(variant, steps):
    """What a unit gradient at the first step leaves after each step: in the inertia, or in −λw."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = build(METHODS, variant | {"real": REAL}).binary_optimizer([weight])
    response = np.empty(steps)
    for step in range(steps):
        weight.grad = torch.full_like(weight, 1.0 if step == 0 else 0.0)
        optimizer.step()
        state = optimizer.state[weight]
        response[step] = state["inertia"] if "inertia" in state else -variant["weight_decay"] * weight.item()
    return response


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ({"kind": "gradient_filter", "alpha": 0.02}, lambda w: frequency_response([0.02], w)),
        ({"kind": "gradient_filter", "alpha": 0.02, "gamma": 0.1}, lambda w: frequency_response([0.1, 0.02], w)),
        (
            {"kind": "gradient_filter", "alpha": 0.02, "gamma": 0.1, "delta": 0.3},
            lambda w: frequency_response([0.3, 0.1, 0.02], w),
        ),
        (
            {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.2},
            lambda w: frequency_response([0.02], w),
        ),
        (
            {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.02, "momentum": 0.9},
            lambda w: sgd_frequency_response(0.1, 0.02, 0.9, w),
        ),
        (
            {"kind": "latent_sgd", "lr": 0.1, "weight_decay": 0.2, "momentum": 0.9},
            lambda w: sgd_frequency_response(0.1, 0.2, 0.9, w),
        ),
    ],
    ids=["order 1", "order 2", "order 3", "SGD", "SGD with momentum", "SGD, complex poles"],
)
def test_optimizers_let_through_what_theory_says(variant, expected):
    """SGD with weight decay is an exponential average, with momentum a recursive filter of the second order."""
    frequencies = np.geomspace(1e-3, np.pi, 40)
    response = impulse_response(variant, 800)
    found = np.exp(-1j * np.outer(frequencies, np.arange(len(response)))) @ response
    np.testing.assert_allclose(np.abs(found), np.abs(expected(frequencies)), rtol=0, atol=1e-6)
