"""The config side: what is built from a variant, what is refused, and what a step costs."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from boundcheck.methods import METHODS
from boundcheck.methods.landscape import Landscape
from boundcheck.registry import build

SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}
SAM = {"kind": "sam", "base": SGD, "rho": 0.1}
ASAM = {"kind": "asam", "base": SGD, "rho": 0.5}
GSAM = {"kind": "gsam", "base": SGD, "rho": 0.1, "alpha": 0.3}
PENALTY = {"kind": "gradient_penalty", "base": SGD, "lam": 0.02, "radius": 0.1}
EXACT = {"kind": "gam", "base": SGD, "rho": 0.1, "alpha": 0.3}
DIFFERENCE = EXACT | {"form": "finite_difference", "radius": 0.02}
ACCELERATED = EXACT | {"form": "accelerated_released", "radius": 0.02, "beta": 0.5, "gamma": 0.03}
ASCENT = {"kind": "ascent_only", "base": SGD, "rho": 0.1}

GRADIENTS = [
    (SGD, 1),
    ({"kind": "adamw", "lr": 0.01}, 1),
    (SAM, 2),
    (SAM | {"adaptive": True}, 2),
    (ASAM, 2),
    (GSAM, 2),
    (PENALTY, 2),
    (ASCENT, 3),
    (EXACT, 4),
    (EXACT | {"inner_steps": 3}, 8),
    (EXACT | {"oracle": "sam", "oracle_rho": 0.05}, 5),
    (EXACT | {"oracle": "gsam", "oracle_rho": 0.05, "oracle_alpha": 0.1}, 5),
    (DIFFERENCE, 4),
    (DIFFERENCE | {"oracle": "sam", "oracle_rho": 0.05}, 5),
    (ACCELERATED, 4),
    (ACCELERATED | {"form": "accelerated_paper"}, 4),
    ({"kind": "gradient_descent", "lr": 0.1}, 1),
    ({"kind": "adaptive_momentum", "lr": 0.1, "block": "layer"}, 1),
    ({"kind": "heavy_ball", "lr": 0.1}, 1),
    ({"kind": "nesterov", "lr": 0.1}, 1),
    ({"kind": "polyak", "curvature": 10.0, "strong_convexity": 10.0}, 1),
    ({"kind": "latent_sgd", "lr": 0.1, "real": SGD}, 1),
    ({"kind": "latent_sgd_decoupled", "lr": 0.1, "real": SGD}, 1),
    ({"kind": "latent_adam", "lr": 0.1, "real": SGD}, 1),
    ({"kind": "latent_adamw", "lr": 0.1, "real": SGD}, 1),
    ({"kind": "bop", "gamma": 0.1, "real": SGD}, 1),
    ({"kind": "gradient_filter", "alpha": 0.1, "real": SGD}, 1),
    ({"kind": "state_space_filter", "rate": 0.1, "real": SGD}, 1),
    ({"kind": "mapped_filter", "latent": {"kind": "latent_sgd", "lr": 0.1, "real": SGD}}, 1),
]


@pytest.mark.parametrize(("variant", "expected"), GRADIENTS)
def test_a_step_costs_what_the_method_says(variant, expected, make_network, monkeypatch):
    """Closure calls plus Hessian-vector products."""
    network, calls = make_network(), []
    method = build(METHODS, variant)
    optimizer = method.optimizer(network.model)
    optimizer.second_order = method.second_order
    product = Landscape._hessian_along_gradient
    monkeypatch.setattr(
        Landscape, "_hessian_along_gradient", lambda *arguments: (calls.append("product"), product(*arguments))[1]
    )
    closure = network.closure(optimizer)
    optimizer.step(lambda: (calls.append("gradient"), closure())[1])
    assert len(calls) == method.num_gradients == expected
    assert ("product" in calls) == method.second_order


@pytest.mark.parametrize(("variant", "_"), GRADIENTS)
def test_lr_and_prepare(variant, _):
    method = build(METHODS, variant)
    model = nn.Linear(2, 2)
    assert method.lr == pytest.approx(variant.get("lr", 0.1), rel=1e-14)
    assert method.prepare(model) is model
    assert method.optimizer(model).param_groups[0]["lr"] == method.lr
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.rho = 1.0


@pytest.mark.parametrize(("variant", "_"), GRADIENTS)
def test_building_a_method_draws_no_random_number(variant, _):
    state = torch.get_rng_state()
    build(METHODS, variant)
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_reach_the_optimizer():
    base = SGD | {"nesterov": True, "weight_decay": 5e-4}
    model = nn.Linear(2, 2)
    optimizer = build(METHODS, ACCELERATED | {"base": base, "rho_min": 0.05, "rho_warmup": 7}).optimizer(model)
    group = optimizer.param_groups[0]
    expected = {"rho": 0.1, "alpha": 0.3, "radius": 0.02, "beta": 0.5, "gamma": 0.03, "rho_min": 0.05, "rho_warmup": 7}
    expected |= {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "lr": 0.1}
    assert expected.items() <= group.items()
    assert optimizer.model is model
    adamw = {"kind": "adamw", "lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.3}
    group = build(METHODS, SAM | {"base": adamw}).optimizer(model).param_groups[0]
    assert {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.3}.items() <= group.items()


REFUSED = [
    (SGD, {"nesterov": True, "dampening": 0.1}, "nesterov: got True; allowed: False"),
    (SGD, {"nesterov": True, "momentum": 0.0}, "nesterov: got True; allowed: False"),
    (SAM, {"rho_min": 0.2}, "rho_min: got 0.2; allowed: a number in [0, rho]"),
    (SAM, {"base": {"kind": "sgd"}}, "base: lr: sgd needs this setting"),
    (SAM, {"base": SGD | {"lr": -1}}, "base: lr: got -1; allowed: a number > 0"),
    (SAM, {"base": SAM}, "base: unknown kind 'sam'; allowed: adamw, sgd"),
    (PENALTY, {"lam_min": 0.5}, "lam_min: got 0.5; allowed: a number in [0, lam]"),
    (EXACT, {"radius": 0.1}, "radius: got 0.1; allowed: none, with form 'exact'"),
    (EXACT, {"oracle": "sam"}, "oracle_rho: got None; allowed: a number >= 0"),
    (EXACT, {"oracle_rho": 0.1}, "oracle_rho: got 0.1; allowed: none, with form 'exact', oracle 'none'"),
    (EXACT, {"oracle": "sam", "oracle_rho": 0.1, "oracle_alpha": 0.1}, "oracle_alpha: got 0.1; allowed: none"),
    (DIFFERENCE, {"radius": None}, "radius: got None; allowed: a number > 0"),
    (DIFFERENCE, {"inner_steps": 2}, "inner_steps: got 2; allowed: 1, with form 'finite_difference'"),
    (ACCELERATED, {"alpha": 1.1}, "alpha: got 1.1; allowed: a number in [0, 1]"),
    (ACCELERATED, {"beta": None}, "beta: got None; allowed: a number in [0, 1]"),
    (ACCELERATED, {"oracle": "sam", "oracle_rho": 0.1}, "oracle: got 'sam'; allowed: none"),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "change", "message"), REFUSED)
def test_numbers_that_make_no_sense_are_refused(variant, change, message):
    build(METHODS, variant)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        build(METHODS, variant | change)
