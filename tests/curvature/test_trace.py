from __future__ import annotations

import math

import pytest
import torch

from boundcheck.curvature.operator import MatrixOperator
from boundcheck.curvature.trace import deflated_trace, exact_trace, hutch_plus_plus_trace, hutchinson_trace

ESTIMATORS = [hutchinson_trace, deflated_trace, hutch_plus_plus_trace]
TRAINED = torch.cat([torch.tensor([30.0, 20, 10, 5, 3]), torch.linspace(-0.2, 0.4, 95)]).double()  # a few outliers


def repeat(estimator, matrix, num_matvecs, times=60):
    operator = MatrixOperator(matrix)
    return [estimator(operator, num_matvecs, torch.Generator().manual_seed(seed)) for seed in range(times)]


def test_exact_trace(symmetric):
    matrix = symmetric([3, -1, 0.5, 7])
    estimate = exact_trace(MatrixOperator(matrix))
    assert estimate.value == pytest.approx(9.5, abs=1e-14)
    assert (estimate.standard_error, estimate.num_matvecs) == (0, 4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimates_are_unbiased_and_their_standard_errors_are_right(symmetric, estimator):
    matrix = symmetric(TRAINED)
    estimates = repeat(estimator, matrix, 24, times=200)
    errors = torch.tensor([e.value - TRAINED.sum().item() for e in estimates])
    claimed = torch.tensor([e.standard_error for e in estimates]).square().mean().sqrt()
    assert abs(errors.mean()) < 3.5 * errors.std() / math.sqrt(len(errors))
    assert claimed / errors.square().mean().sqrt() == pytest.approx(1, abs=0.2)
    assert {e.num_matvecs for e in estimates} == {24}


def test_deflation_beats_the_others_at_equal_cost(symmetric):
    matrix = symmetric(TRAINED)
    plain, deflated, sketched = (
        torch.tensor([e.value - TRAINED.sum().item() for e in repeat(estimator, matrix, 24)]).square().mean().sqrt()
        for estimator in ESTIMATORS
    )
    assert deflated < sketched < plain
    assert deflated < plain / 4


@pytest.mark.parametrize("estimator", [deflated_trace, hutch_plus_plus_trace])
@pytest.mark.parametrize("values", [[2.0, 2, 2, 2], [5.0, 0, 0, 0, 0], [0.0, 0, 0], [1.0], [4.0, -4, 1]])
def test_a_space_that_the_products_span_is_exact(symmetric, generator, estimator, values):
    estimate = estimator(MatrixOperator(symmetric(values)), 40, generator)
    assert estimate.value == pytest.approx(sum(values), abs=1e-13)
    assert estimate.standard_error == pytest.approx(0, abs=1e-13)


def test_a_low_rank_is_deflated_whole(symmetric, generator):
    matrix = symmetric([9.0, 4, -3, *torch.zeros(97)])
    for estimator in (deflated_trace, hutch_plus_plus_trace):
        estimate = estimator(MatrixOperator(matrix), 12, generator)
        assert estimate.value == pytest.approx(10, abs=1e-12)
        assert estimate.standard_error < 1e-12


@pytest.mark.parametrize(
    ("estimator", "least"), [(hutchinson_trace, 2), (deflated_trace, 4), (hutch_plus_plus_trace, 6)]
)
def test_too_few_products_are_rejected(estimator, least, generator):
    with pytest.raises(ValueError, match=f"got {least - 1}; allowed: >= {least}"):
        estimator(MatrixOperator(torch.eye(3)), least - 1, generator)
    assert math.isfinite(estimator(MatrixOperator(torch.eye(30)), least, generator).standard_error)
