from __future__ import annotations

import copy

import pytest
import torch

from boundcheck.analyses import GradientNorm, SpectralDensity, Trace
from boundcheck.contracts import Snapshot
from boundcheck.curvature.density import spectral_quadrature
from boundcheck.curvature.operator import MatrixOperator
from boundcheck.curvature.trace import deflated_trace, hutch_plus_plus_trace
from boundcheck.settings import TrainingSettings


@pytest.fixture
def hessian(convolution, objective, train, loss_of):
    loss, theta = loss_of(copy.deepcopy(convolution).eval(), objective, train)
    return torch.autograd.functional.hessian(loss, theta)


@pytest.mark.parametrize(("estimator", "function"), [("deflated", deflated_trace), ("hutch++", hutch_plus_plus_trace)])
def test_the_trace_is_that_of_the_dense_hessian(convolution, objective, train, hessian, estimator, function):
    analysis, (first, second) = Trace(estimator, num_hvps=30), (torch.Generator().manual_seed(4) for _ in range(2))
    rows = {
        r.quantity: r.value
        for r in analysis.measure(Snapshot(convolution, objective, train, train, first, TrainingSettings()))
    }
    expected = function(MatrixOperator(hessian), 30, second)
    assert rows["trace"] == pytest.approx(expected.value, rel=1e-9)
    assert rows["trace_standard_error"] == pytest.approx(expected.standard_error, rel=1e-9)
    assert abs(rows["trace"] - hessian.trace()) < 4 * rows["trace_standard_error"]


def test_the_exact_trace(convolution, objective, train, generator, hessian):
    trace, error = Trace("exact").measure(Snapshot(convolution, objective, train, train, generator, TrainingSettings()))
    assert trace.value == pytest.approx(hessian.trace().item(), rel=1e-12)
    assert error.value == 0


def test_the_density_is_that_of_the_dense_hessian(convolution, objective, train, hessian):
    analysis = SpectralDensity(num_steps=6, num_probes=3)
    rows = analysis.measure(
        Snapshot(convolution, objective, train, train, torch.Generator().manual_seed(4), TrainingSettings())
    )
    expected = spectral_quadrature(MatrixOperator(hessian), 6, 3, torch.Generator().manual_seed(4))
    weights = [row for row in rows if row.quantity == "density_weight"]
    assert [row.index for row in weights] == [0] * 6 + [1] * 6 + [2] * 6
    found = torch.tensor([(row.coordinate, row.value) for row in weights], dtype=torch.float64)
    torch.testing.assert_close(found[:, 0], expected.nodes.flatten(), rtol=0, atol=1e-9)
    torch.testing.assert_close(found[:, 1], expected.weights.flatten(), rtol=0, atol=1e-9)
    grid = torch.tensor([(row.coordinate, row.value) for row in rows if row.quantity == "spectral_density"])
    assert torch.trapezoid(grid[:, 1], grid[:, 0]).item() == pytest.approx(1, abs=1e-3)


def test_the_gradient_norm(mlp, objective, train, generator, loss_of):
    rows = GradientNorm().measure(Snapshot(mlp, objective, train, train, generator, TrainingSettings()))
    loss, theta = loss_of(mlp, objective, train)
    assert [row.quantity for row in rows] == ["loss", "gradient_norm"]
    assert rows[0].value == pytest.approx(loss(theta).item(), rel=1e-14)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    assert rows[1].value == pytest.approx(gradient.norm().item(), rel=1e-13)
