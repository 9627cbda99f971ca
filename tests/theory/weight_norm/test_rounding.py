"""What rounding adds to derivatives of predictions, in networks from ordinary to saturated beyond underflow."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from boundcheck.analyses.predictor_hessian import PredictorHessian
from boundcheck.contracts import Snapshot, Split
from boundcheck.models import WeightNormMLP
from boundcheck.objectives import Square
from boundcheck.settings import TrainingSettings
from boundcheck.theory.weight_norm.bounds import layer_bounds
from boundcheck.theory.weight_norm.network import gradient_norm, passes
from boundcheck.theory.weight_norm.rounding import growth, rounding_errors

LEVELS = [0.3, 3, 20, 25, 33, 36, 37, 38, 40, 100, 350, 400, 500, 740, 750]


def saturated(activation, depth, level, sign, seed=0):
    """A network and six inputs whose first pre-activations have about this mean modulus, all of one sign."""
    draw = torch.Generator().manual_seed(seed)
    network = WeightNormMLP(depth=depth, width=6, activation=activation).build((5,), 1, draw).double()
    with torch.no_grad():
        network.layers[0].weight.abs_()
        inputs = sign * (0.5 + torch.rand(6, 5, dtype=torch.float64, generator=draw))
        inputs *= level / network.layers[0](inputs).abs().mean(1, keepdim=True)
    return network, inputs


def rows_of(network, inputs):
    split = Split(inputs, torch.zeros(6, dtype=torch.long))
    generator = torch.Generator().manual_seed(0)
    snapshot = Snapshot(network, Square(), split, split, generator, TrainingSettings())
    rows = PredictorHessian(samples=6, tolerance=1e-12, max_hvps=40).measure(snapshot)
    return {(row.quantity, row.index): row for row in rows}


@pytest.mark.parametrize("activation", ["tanh", "softplus", "gelu", "silu"])
@pytest.mark.parametrize(("depth", "sign"), [(1, -1), (2, -1), (2, 1)])
def test_no_network_violates_its_bounds_by_more_than_rounding(activation, depth, sign):
    names = ("blocks", "layers", "parameters", "a_priori")
    for level in LEVELS:
        rows = rows_of(*saturated(activation, depth, level, sign))
        for i in range(6):
            for of in ("hessian", "gradient"):
                measured = rows[f"predictor_{of}_norm", i].value
                bounds = [rows[f"{of}_bound_{name}", i] for name in names]
                assert all(measured <= bound.value + bound.error for bound in bounds), (level, of, i)
                assert all(a.value <= b.value + b.error for a, b in pairwise(bounds)), (level, i)


@pytest.mark.parametrize(("activation", "level"), [("gelu", 37), ("silu", 400), ("softplus", 740)])
def test_a_share_of_the_bound_is_not_enough_there(activation, level):
    rows = rows_of(*saturated(activation, 1 if activation != "gelu" else 2, level, -1))
    pairs = [("gradient", "layers"), ("hessian", "layers")]
    assert any(
        rows[f"predictor_{of}_norm", i].value > (1 + 1e-8) * rows[f"{of}_bound_{name}", i].value
        for i in range(6)
        for of, name in pairs
    )


@pytest.mark.parametrize("activation", ["tanh", "softplus", "gelu", "silu"])
def test_in_ordinary_networks_it_is_far_below_the_bound(activation):
    """So that a violation by one part in 10⁹ is found, as by the old share of 10⁻⁸ it was not."""
    for level in (0.3, 3):
        network, inputs = saturated(activation, 2, level, -1)
        at = passes(network.theory(network.output[0]), inputs)
        errors, bounds = rounding_errors(at), layer_bounds(at)
        assert (errors.hessian <= 1e-10 * bounds.hessian).all()
        assert (errors.gradient <= 1e-10 * bounds.gradient).all()
        assert (errors.gradient > 0).all()


def test_it_covers_what_two_orders_of_the_operations_differ_by():
    """The norm of the gradient in closed form, in float32 and in float64, with the unit of float32."""
    draw = torch.Generator().manual_seed(1)
    network = WeightNormMLP(depth=3, width=20, activation="tanh").build((30,), 1, draw)
    inputs = torch.randn(8, 30, generator=draw)
    exact = gradient_norm(passes(network.theory(network.output[0]), inputs.double()))
    rough = network.theory(network.output[0])
    rough = type(rough)([w.float() for w in rough.weights], rough.output.float(), rough.activation, rough.scales)
    apart = (gradient_norm(passes(rough, inputs)).double() - exact).abs()
    unit = torch.finfo(torch.float32).eps / torch.finfo(torch.float64).eps
    errors = rounding_errors(passes(network.theory(network.output[0]), inputs.double())).gradient
    assert (apart <= unit * errors).all()
    assert (apart > 0).any()


def test_growth_is_the_unit_times_the_number():
    assert growth(1) == pytest.approx(2.0**-53, rel=1e-12)
    assert growth(2**52) == pytest.approx(1.0)
    assert math.isclose(growth(1000), 1000 * 2.0**-53, rel_tol=1e-9)
