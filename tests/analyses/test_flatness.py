from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from boundcheck.analyses import Flatness
from boundcheck.analyses.flat_loss import flat_loss
from boundcheck.contracts import Snapshot
from boundcheck.curvature.flatness import flatness
from boundcheck.curvature.hessian import HessianOperator
from boundcheck.curvature.hessian_lipschitz import hessian_lipschitz
from boundcheck.curvature.lanczos import lanczos
from boundcheck.settings import TrainingSettings

ANALYSIS = Flatness(rhos=[0.3, 0.05], relative_rhos=[0.02], iterations=8)


@pytest.fixture
def rows(mlp, objective, train, generator):
    return ANALYSIS.measure(Snapshot(mlp, objective, train, train, generator, TrainingSettings()))


def at(rows, quantity, coordinate=None):
    (row,) = [r for r in rows if r.quantity == quantity and coordinate in (None, pytest.approx(r.coordinate))]
    return row.value


def test_scalars_are_those_of_the_dense_loss(rows, mlp, objective, train, loss_of):
    loss, theta = loss_of(copy.deepcopy(mlp), objective, train)
    hessian = torch.autograd.functional.hessian(loss, theta)
    assert at(rows, "loss") == pytest.approx(loss(theta).item(), rel=1e-12)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    assert at(rows, "gradient_norm") == pytest.approx(gradient.norm().item(), rel=1e-12)
    assert at(rows, "parameter_norm") == pytest.approx(theta.norm().item(), rel=1e-12)
    (norm,) = [row for row in rows if row.quantity == "spectral_norm"]
    true = torch.linalg.matrix_norm(hessian, 2).item()
    assert abs(norm.value - true) <= norm.error
    assert norm.value == pytest.approx(true, rel=1e-3)


def test_every_radius_has_its_rows_and_they_keep_the_inequalities(rows):
    g, h = at(rows, "gradient_norm"), at(rows, "spectral_norm")
    for prefix, coordinate, rho in (
        ("", 0.05, 0.05),
        ("", 0.3, 0.3),
        ("relative_", 0.02, 0.02 * at(rows, "parameter_norm")),
    ):
        zeroth, first, ratio, lipschitz = (
            at(rows, prefix + quantity, coordinate)
            for quantity in ("zeroth_order_flatness", "first_order_flatness", "one_step_ratio", "hessian_lipschitz")
        )
        assert 0 < zeroth <= first
        assert first >= rho * g
        assert 0 < ratio <= 1
        assert -lipschitz * rho / 2 <= first / rho**2 - h <= g / rho + lipschitz * rho / 2
    assert at(rows, "zeroth_order_flatness", 0.05) < at(rows, "zeroth_order_flatness", 0.3)


@pytest.mark.parametrize(("rho", "where"), [(0.3, 3), (1.5, 0)])  # largest at a pole, and at the maximiser of R¹
def test_the_lipschitz_estimate_looks_where_the_evaluator_went(mlp, objective, train, rho, where):
    analysis, (first, second) = Flatness(rhos=[rho], iterations=3), (torch.Generator().manual_seed(2) for _ in range(2))
    rows = analysis.measure(Snapshot(mlp, objective, train, train, first, TrainingSettings()))
    losses, theta = flat_loss(mlp, objective, train, dtype=torch.float64)
    top = lanczos(HessianOperator(losses, theta), second, by_magnitude=True).eigenvectors[0]
    found = flatness(losses, theta, rho, second, 3, 3, top)
    each = [
        hessian_lipschitz(losses, theta, [delta], second)
        for delta in (found.maximiser, found.zeroth_maximiser, rho * top, -rho * top)
    ]
    assert at(rows, "hessian_lipschitz", rho) == pytest.approx(max(each), rel=1e-9)
    assert each.index(max(each)) == where


def test_an_objective_with_label_smoothing_is_measured_as_it_is(mlp, train, objective, rows):
    plain = type(objective)(0.0)
    other = ANALYSIS.measure(Snapshot(mlp, plain, train, train, torch.Generator().manual_seed(0), TrainingSettings()))
    assert at(other, "loss") != at(rows, "loss")


def test_a_radius_relative_to_theta_is_that_radius(mlp, objective, train, rows):
    norm = at(rows, "parameter_norm")
    plain = Flatness(rhos=[0.02 * norm], iterations=30, tolerance=1e-6)
    relative = Flatness(rhos=[], relative_rhos=[0.02], iterations=30, tolerance=1e-6)
    first, second = (
        analysis.measure(Snapshot(mlp, objective, train, train, torch.Generator().manual_seed(0), TrainingSettings()))
        for analysis in (plain, relative)
    )
    for quantity in ("zeroth_order_flatness", "first_order_flatness", "hessian_lipschitz"):
        assert at(second, "relative_" + quantity, 0.02) == at(first, quantity, 0.02 * norm)


def test_scale_invariant_weights_are_as_flat_at_any_scale(objective, train):
    """R_{cρ}(cθ) = R_ρ(θ) where the loss does not see the scale: a layer before BatchNorm with batch statistics."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 3, bias=False), torch.nn.BatchNorm1d(3, eps=1e-12, affine=False)
    )
    analysis = Flatness(rhos=[], relative_rhos=[0.1], batch_norm="train", iterations=10)
    larger = copy.deepcopy(model)
    with torch.no_grad():
        larger[1].weight.mul_(4)
    first, second = (
        analysis.measure(Snapshot(m, objective, train, train, torch.Generator().manual_seed(0), TrainingSettings()))
        for m in (model, larger)
    )
    for quantity in ("relative_zeroth_order_flatness", "relative_first_order_flatness"):
        assert at(second, quantity, 0.1) == pytest.approx(at(first, quantity, 0.1), rel=1e-9)


def test_a_network_of_zeros_has_no_relative_radius(mlp, objective, train, generator):
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.zero_()
    rows = ANALYSIS.measure(Snapshot(mlp, objective, train, train, generator, TrainingSettings()))
    assert not [row for row in rows if row.quantity.startswith("relative_")]


def test_the_change_of_the_hessian_can_be_left_out(rows, mlp, objective, train, generator):
    without = dataclasses.replace(ANALYSIS, hessian_change=False)
    found = without.measure(Snapshot(mlp, objective, train, train, generator.manual_seed(0), TrainingSettings()))
    names = {"hessian_lipschitz", "relative_hessian_lipschitz"}
    assert names <= {row.quantity for row in rows}
    assert not names & {row.quantity for row in found}
    assert at(found, "first_order_flatness", 0.3) == pytest.approx(at(rows, "first_order_flatness", 0.3), rel=1e-6)
