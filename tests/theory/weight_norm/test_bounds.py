"""The bounds on a predictor's derivatives, against its dense Hessian, on thousands of small and hostile networks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boundcheck.theory.weight_norm.activation import SMOOTH
from boundcheck.theory.weight_norm.blocks import block_bounds
from boundcheck.theory.weight_norm.bounds import (
    a_priori_bounds,
    layer_bounds,
    matrix_norms,
    parameter_bounds,
    vector_norms,
)
from boundcheck.theory.weight_norm.closed_form import closed_form_bounds
from boundcheck.theory.weight_norm.hessian import predictor_hessian
from boundcheck.theory.weight_norm.network import Network, gradient_norm, passes
from boundcheck.theory.weight_norm.recursion import spectral_norm

EXACT = 1e-8  # what the smallest eigenvalues of autograd's Hessian may be off, relative to the largest
UNDERFLOW = 1e-150  # squares of smaller numbers vanish
VARIANTS = [
    {},
    {"gains": "fixed"},
    {"gains": "trainable"},
    {"scales": "random"},
    {"normalised": False},
]


def all_bounds(batch):
    """Bounds from the tightest, (B,) each: those of the gradient and those of the Hessian."""
    network, x = batch.network, batch.inputs
    at, length = passes(network, x), x.norm(dim=-1)
    bounds = [block_bounds(at), layer_bounds(at), parameter_bounds(network, length)]
    if network.normalised:
        layers = range(1, network.depth + 1)
        rows = [network.row_norms(layer).amin(-1, keepdim=True) for layer in layers]
        gains = [network.gain(layer).abs().amax(-1, keepdim=True) for layer in layers]
        norm, largest = vector_norms(network)
        common = (network.widths, rows, norm, length, network.activation, network.scales)
        for v_max, local in ((largest, True), (None, True), (None, False)):
            bounds.append(a_priori_bounds(*common, v_max, gains, network.trainable_gains, local))
    return [b.gradient[:, 0] for b in bounds], [b.hessian[:, 0] for b in bounds]


def assert_holds(batch):
    _, gradient, hessian = batch.derivatives()
    gradients, hessians = all_bounds(batch)
    norms = [gradient.norm(dim=1), torch.linalg.matrix_norm(hessian, 2)]
    for norm, bounds in zip(norms, (gradients, hessians), strict=True):
        assert (norm <= bounds[0] * (1 + EXACT) + UNDERFLOW).all()
        for below, above in itertools.pairwise(bounds):
            assert (below <= above * (1 + 1e-10) + UNDERFLOW).all()
    return norms[1], hessians


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_bounds_hold_in_their_order_on_hostile_networks(make_batch, depth, activation, variant):
    norm, bounds = assert_holds(make_batch(seed=depth, depth=depth, activation=activation, **variant))
    known = norm > 0
    assert (bounds[0][known] / norm[known]).median() < 1.6  # B2 is nearly attained


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(sorted(SMOOTH)), st.sampled_from(VARIANTS))
def test_bounds_hold_on_any_network(make_batch, seed, depth, activation, variant):
    assert_holds(make_batch(seed=seed, depth=depth, activation=activation, num=8, **variant))


@pytest.mark.parametrize("hostile", [True, False])
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_analytic_blocks_are_the_hessian(make_batch, depth, activation, hostile):
    batch = make_batch(seed=7, depth=depth, activation=activation, num=16, hostile=hostile)
    _, _, hessian = batch.derivatives()
    for i, matrix in enumerate(hessian):
        one = Network([w[i] for w in batch.network.weights], batch.network.output[i], batch.network.activation)
        found = predictor_hessian(passes(one, batch.inputs[i]))
        assert (found - matrix).abs().max() <= 1e-12 * matrix.abs().max()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_pass_and_exact_gradient_norm(make_batch, variant):
    batch = make_batch(seed=3, depth=3, activation="gelu", **variant)
    value, gradient, _ = batch.derivatives()
    at = passes(batch.network, batch.inputs)
    torch.testing.assert_close(at.f[:, 0], value, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient_norm(at)[:, 0], gradient.norm(dim=1), rtol=1e-10, atol=0)


def test_several_inputs_and_networks_at_once_equal_one_by_one(make_batch):
    batch = make_batch(seed=5, depth=2, num=3)
    network = batch.network
    x = torch.randn(4, network.widths[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    at = passes(network, x)
    lengths = x.norm(dim=-1)
    for bounds in (block_bounds(at), layer_bounds(at), parameter_bounds(network, lengths)):
        assert bounds.hessian.shape == (3, 4)
    for i in range(3):
        one = Network([w[i] for w in network.weights], network.output[i], network.activation)
        for j in range(4):
            alone = passes(one, x[j : j + 1])
            for function in (block_bounds, layer_bounds):
                assert function(alone).hessian.item() == pytest.approx(function(at).hessian[i, j].item(), rel=1e-10)
            expected = parameter_bounds(one, lengths[j]).hessian.item()
            assert expected == pytest.approx(parameter_bounds(network, lengths).hessian[i, j].item(), rel=1e-10)


def test_an_output_for_each_input_is_that_of_its_own_network(make_batch):
    network = make_batch(seed=6, depth=2, num=1, hostile=False).network
    weights = [w[0] for w in network.weights]
    x = torch.randn(3, network.widths[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    v = torch.randn(3, network.widths[-1], dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    together = block_bounds(passes(Network(weights, v, network.activation), x)).hessian
    for i in range(3):
        alone = block_bounds(passes(Network(weights, v[i], network.activation), x[i : i + 1])).hessian
        assert alone.item() == pytest.approx(together[i].item(), rel=1e-12)


def bounds_and_norm(batch):
    _, gradient, hessian = batch.derivatives()
    gradients, hessians = all_bounds(batch)
    return [(b.item(), gradient.norm().item()) for b in gradients], [
        (b.item(), torch.linalg.matrix_norm(hessian[0], 2).item()) for b in hessians
    ]


def test_a_bound_that_is_a_tenth_too_strong_fails(make_batch, assert_bound):
    for pairs in bounds_and_norm(make_batch(seed=1, depth=2, num=1, hostile=False)):
        for bound, norm in pairs:
            assert_bound(norm, bound, tightness=(1 - 1e-12, 30))


def test_bounds_that_are_attained(assert_bound):
    """One unit, one input, aligned with its row: every block is as large as its bound."""
    eye = torch.eye(2, dtype=torch.float64)
    network = Network([eye[:1]], torch.zeros(1, dtype=torch.float64), SMOOTH["softplus"])
    x = 2.0 * eye[1:]  # orthogonal to the row; v = 0 leaves only the mixed block s₂ φ′(0) s₁‖x‖/r
    norm = 0.5 * 2.0 / math.sqrt(2)
    for bounds in (block_bounds(passes(network, x)), layer_bounds(passes(network, x))):
        assert_bound(norm, bounds.hessian.item(), tightness=1.0)


def test_the_constant_of_the_turning_term_is_attained(assert_bound):
    """K = −[(u·a) P + u (Pa)ᵀ + (Pa) uᵀ]/r² has its largest norm, (2/√3)‖a‖/r², where sin² of the angle is 2/3."""
    angle, r, length = math.atan(math.sqrt(2)), 0.1, 1e-6
    row = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    x = torch.tensor([[length, 0.0]], dtype=torch.float64)
    network = Network([r * row], torch.full((1,), 1e3, dtype=torch.float64), SMOOTH["softplus"])
    at = passes(network, x)
    norm = torch.linalg.matrix_norm(predictor_hessian(at), 2).item()
    assert norm == pytest.approx(1e3 * 0.5 * length / math.sqrt(2) / r**2 * 2 / math.sqrt(3), rel=1e-4)
    for bounds in (block_bounds(at), layer_bounds(at)):
        assert_bound(norm, bounds.hessian.item(), tightness=(1.0, 1.0001))


@pytest.mark.parametrize("variant", [{}, {"gains": "trainable"}, {"gains": "fixed"}, {"normalised": False}], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_bounds_within_a_radius_hold_there(make_batch, activation, variant):
    batch = make_batch(seed=11, depth=2, activation=activation, num=8, hostile=False, **variant)
    least = min(batch.network.row_norms(layer).min().item() for layer in (1, 2)) if batch.network.normalised else 1.0
    theta = batch.theta
    generator = torch.Generator().manual_seed(0)
    for radius in (0.0, 0.1 * least, 0.5 * least):
        bounds = parameter_bounds(batch.network, batch.inputs.norm(dim=-1), radius)
        for _ in range(6):
            step = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
            moved = theta + radius * step / step.norm(dim=1, keepdim=True)
            gains = [batch.network.gain(layer) for layer in (1, 2)]
            arguments = (moved, gains, batch.inputs[:, 0])
            gradient = torch.func.vmap(torch.func.grad(batch.predict))(*arguments)
            hessian = torch.func.vmap(torch.func.hessian(batch.predict))(*arguments)
            assert (gradient.norm(dim=1) <= bounds.gradient[:, 0] * (1 + 1e-10)).all()
            assert (torch.linalg.matrix_norm(hessian, 2) <= bounds.hessian[:, 0] * (1 + 1e-10)).all()


def test_rows_that_turn_towards_an_input_stay_within_the_bound():
    """Two orthogonal rows attain ‖a‖ ≤ ‖T‖‖x‖ on their bisector; turned towards it they exceed it."""
    eye, radius = torch.eye(2, dtype=torch.float64), 0.05
    x = torch.full((1, 2), 1e-3, dtype=torch.float64)
    network = Network([eye], torch.zeros(2, dtype=torch.float64), SMOOTH["tanh"])
    moved = Network([eye + radius / 2 * (1 - eye)], network.output, network.activation)
    there = passes(moved, x).a[1].norm()
    at_rest, within = (parameter_bounds(network, x.norm(dim=-1), r).last[0] for r in (0.0, radius))
    assert passes(network, x).a[1].norm() == pytest.approx(at_rest.item(), rel=1e-5)
    assert at_rest * 1.02 < there <= within


def test_a_radius_that_reaches_a_row_bounds_nothing(make_batch):
    batch = make_batch(seed=11, depth=2, num=2, hostile=False)
    assert parameter_bounds(batch.network, batch.inputs.norm(dim=-1), 100.0).hessian.isinf().all()


def test_a_radius_for_each_layer_is_less_than_one_for_all(make_batch):
    batch = make_batch(seed=12, depth=2, num=4, hostile=False)
    length, small = batch.inputs.norm(dim=-1), torch.full((4, 1), 0.01, dtype=torch.float64)
    one = parameter_bounds(batch.network, length, 0.01).hessian
    torch.testing.assert_close(parameter_bounds(batch.network, length, [small] * 3).hessian, one)
    assert (parameter_bounds(batch.network, length, [small, 0 * small, 0 * small]).hessian < one).all()


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_closed_forms_are_above_the_bound_that_they_simplify(activation, depth):
    for width, row_norm, v in itertools.product((3, 40), (0.05, 1.0, 7.0), (0.0, 0.3, 5.0)):
        length = torch.tensor(math.sqrt(6.0), dtype=torch.float64)
        rows = [torch.tensor(row_norm, dtype=torch.float64)] * depth
        norm = torch.tensor(v, dtype=torch.float64)
        exact = a_priori_bounds([6, *[width] * depth], rows, norm, length, SMOOTH[activation])
        closed = closed_form_bounds(depth, width, row_norm, v, 1.0, SMOOTH[activation])
        assert exact.hessian <= closed.hessian * (1 + 1e-12)
        assert closed.hessian <= closed.hessian_sum
        assert closed.hessian <= closed.hessian_cubic
        assert exact.gradient <= closed.gradient * (1 + 1e-12)


def test_closed_forms_grow_as_their_names_say():
    def at(depth=1, width=10**8, row_norm=1.0):
        return closed_form_bounds(depth, width, row_norm, 1e6, 1.0, SMOOTH["tanh"])

    assert at(depth=2000).hessian / at(depth=1000).hessian == pytest.approx(4, rel=0.01)
    assert at(depth=2000).hessian_cubic / at(depth=1000).hessian_cubic == pytest.approx(8, rel=0.01)
    assert at(width=4 * 10**8).hessian / at().hessian == pytest.approx(0.5, rel=1e-6)
    assert at(row_norm=2.0).hessian / at().hessian == pytest.approx(0.25, rel=1e-6)


def test_a_priori_bound_of_one_layer_by_hand():
    """tanh, L = 1, paper's scaling: M₁₁ = h²‖v‖β/(√m r²) + (2/√3)‖v‖h/(√m r²), M₁ᵥ = h/(√m r)."""
    m, r, v = 9, 0.5, 2.0
    one = torch.ones((), dtype=torch.float64)
    bounds = a_priori_bounds([4, m], [r * one], v * one, 2 * one, SMOOTH["tanh"])
    beta = SMOOTH["tanh"].beta
    first = v * (beta + 2 / math.sqrt(3)) / (math.sqrt(m) * r**2)
    mixed = 1 / (math.sqrt(m) * r)
    assert bounds.hessian.item() == pytest.approx((first + math.sqrt(first**2 + 4 * mixed**2)) / 2, rel=1e-12)
    h = math.tanh(1)
    assert bounds.gradient.item() == pytest.approx(math.sqrt(h**2 + v**2 / (m * r**2)), rel=1e-12)
    assert bounds.last.item() == pytest.approx(math.sqrt(m) * h, rel=1e-12)


def test_norms_of_several_outputs_bound_every_direction():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    norms = matrix_norms(output)
    rho = torch.randn(2, 500, 3, generator=generator, dtype=torch.float64)
    v = rho / rho.norm(dim=-1, keepdim=True) @ output
    assert (v.norm(dim=-1) <= norms.euclidean).all()
    assert (v.abs().amax(-1) <= norms.largest).all()
    assert (v.norm(dim=-1).amax(-1) > 0.98 * norms.euclidean[:, 0]).all()
    torch.testing.assert_close(spectral_norm(output), torch.linalg.matrix_norm(output, 2))


REFUSED = [
    ({"weights": []}, "weights: got none"),
    ({"scales": [1.0]}, "scales: got 1; allowed: 2"),
    ({"trainable_gains": True}, "trainable_gains: got True without gains"),
    ({"gains": [torch.ones(2)], "normalised": False}, "gains: got some without normalisation"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_networks_that_make_no_sense_are_refused(change, message):
    network = {"weights": [torch.eye(2)], "output": torch.ones(2), "activation": SMOOTH["tanh"]}
    with pytest.raises(ValueError, match=message):
        Network(**(network | change))
