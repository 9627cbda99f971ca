from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcheck.curvature.lanczos import lanczos
from boundcheck.curvature.operator import MatrixOperator, random_direction

BULK = torch.linspace(-0.5, 1, 200, dtype=torch.float64)


def eigenvalues(matrix):
    return torch.from_numpy(np.linalg.eigvalsh(matrix.double().numpy())).flip(0)


def distances(found, true):
    """How far each found value is from the nearest true one."""
    return (found.eigenvalues.unsqueeze(1) - true).abs().min(1).values


SPECTRA = {
    "outliers": [50.0, 30, 20, 10, 5, *BULK],
    "indefinite": [-40.0, 25, -15, 8, -6, *BULK],
    "clustered": [9.0, 9 - 1e-4, 9 - 2e-4, 9 - 3e-4, 9 - 4e-4, *BULK],
    "negative": [*(-BULK - 1), -9.0, -20.0],
    "rank one": [3.0, *torch.zeros(150)],
    "zero": [*torch.zeros(40)],
    "identity": [*torch.ones(40)],
    "geometric": [*(2.0 ** -torch.arange(60.0))],
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("ends", [(5, 0), (0, 2), (3, 2)])
def test_both_ends_agree_with_numpy(symmetric, generator, name, ends):
    matrix = symmetric(SPECTRA[name])
    true, (top, bottom) = eigenvalues(matrix), ends
    found = lanczos(MatrixOperator(matrix), generator, top, bottom, residual_tolerance=1e-6)
    expected = torch.cat([true[:top], true[len(true) - bottom :]])
    assert found.converged
    assert (found.eigenvalues - expected).abs().max() <= 1e-6 * max(true.abs().max(), 1e-6)
    assert (distances(found, true) <= found.residuals).all()


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_residuals_are_those_of_the_pairs_and_bound_the_error(symmetric, generator, name, dtype):
    matrix = symmetric(SPECTRA[name]).to(dtype)
    found = lanczos(MatrixOperator(matrix), generator, top=3, bottom=1)
    vectors = found.eigenvectors.double()
    explicit = (vectors @ matrix.double() - found.eigenvalues.unsqueeze(1) * vectors).norm(dim=1)
    assert (explicit <= found.residuals).all()
    slack = 3000 * torch.finfo(dtype).eps * matrix.double().norm()
    assert (found.residuals <= explicit * (1 + 1e-6) + slack).all()
    assert (distances(found, eigenvalues(matrix)) <= found.residuals).all()


def test_the_default_tolerance_is_kept_in_few_products(symmetric, generator):
    matrix = symmetric(SPECTRA["outliers"])
    found = lanczos(MatrixOperator(matrix), generator, top=5)
    true = eigenvalues(matrix)[:5]
    assert ((found.eigenvalues - true) / true).abs().max() < 1e-3
    assert found.num_matvecs <= 20


def test_eigenvectors_are_orthonormal(symmetric, generator):
    found = lanczos(MatrixOperator(symmetric(SPECTRA["outliers"])), generator, top=5, bottom=2)
    gram = found.eigenvectors @ found.eigenvectors.mT
    torch.testing.assert_close(gram, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-13)


def test_magnitudes(symmetric, generator):
    matrix = symmetric(SPECTRA["indefinite"])
    found = lanczos(MatrixOperator(matrix), generator, top=4, by_magnitude=True, residual_tolerance=1e-6)
    expected = torch.tensor([-40.0, 25, -15, 8], dtype=torch.float64)
    torch.testing.assert_close(found.eigenvalues, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("values", [[10.0, 10, 1, 2, 3, 4, 5, 6, 7, 8], [4.0, 4, 4, 1, 1, 0, 0, -2, -2, -2]])
def test_copies_are_found_after_a_breakdown(symmetric, generator, values):
    matrix = symmetric(values)
    found = lanczos(MatrixOperator(matrix), generator, top=5, bottom=5)
    torch.testing.assert_close(found.eigenvalues, eigenvalues(matrix), rtol=0, atol=1e-12)
    assert found.num_matvecs == 10


def test_copies_in_a_large_space_need_a_restart(symmetric, generator):
    matrix = MatrixOperator(symmetric([100.0, 100, 50, *BULK]))
    once = lanczos(matrix, generator, top=2)
    twice = lanczos(matrix, generator, top=2, restarts=1)
    assert once.eigenvalues[1] == pytest.approx(50)
    torch.testing.assert_close(twice.eigenvalues, torch.tensor([100.0, 100], dtype=torch.float64))


def test_a_start_without_the_top_eigenvector_breaks_down_and_recovers(generator):
    matrix = torch.diag(torch.tensor([7.0, 5, 3, *torch.linspace(0, 1, 30)], dtype=torch.float64))
    start = torch.zeros(33, dtype=torch.float64)
    start[1] = start[2] = 1.0
    found = lanczos(MatrixOperator(matrix), generator, top=2, start=start, residual_tolerance=1e-4)
    torch.testing.assert_close(found.eigenvalues, torch.tensor([7.0, 5], dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("second", [3.0, 5.0, 8.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_top_eigenvector_that_the_start_barely_contains_is_not_missed(second, seed):
    """The first vector has a part of 1e-5 along the top eigenvector, and all others as it comes."""
    n, overlap = 120, 1e-5
    start = random_direction(MatrixOperator(torch.eye(n).double()), torch.Generator().manual_seed(seed))
    draw = torch.Generator().manual_seed(seed + 100)
    aside = torch.randn(n, dtype=torch.float64, generator=draw)
    aside -= aside @ start * start
    top = overlap * start + math.sqrt(1 - overlap**2) * aside / aside.norm()
    frame = torch.linalg.qr(torch.cat([top[:, None], torch.randn(n, n - 1, generator=draw).double()], 1)).Q
    values = torch.cat([torch.tensor([10.0, second]), torch.linspace(0, 1, n - 2)]).double()
    matrix = MatrixOperator((frame * values) @ frame.mT)
    found = lanczos(matrix, torch.Generator().manual_seed(seed))
    assert found.eigenvalues[0] == pytest.approx(10, rel=1e-4)
    assert found.num_matvecs < 20


def test_it_never_stops_before_the_least_number_of_steps(symmetric, generator):
    matrix = MatrixOperator(symmetric(SPECTRA["rank one"]))
    cold = lanczos(matrix, generator, top=3)
    assert cold.num_matvecs == 2 * 3 + 3
    assert lanczos(matrix, generator, top=3, start=cold.eigenvectors[0]).num_matvecs == 3 + 2


def test_an_eigenvalue_near_zero_is_wanted_only_to_a_part_of_the_norm(symmetric, generator):
    matrix = symmetric([50.0, 30, 20, *torch.linspace(0, 0.1, 300)])
    found = lanczos(MatrixOperator(matrix), generator, top=1, bottom=1)
    assert found.converged
    assert found.num_matvecs < 20
    assert abs(found.eigenvalues[1]) <= found.residuals[1] < 0.1


def test_residuals_count_what_the_chains_before_a_restart_left(symmetric, generator):
    matrix = symmetric(SPECTRA["outliers"])
    found = lanczos(MatrixOperator(matrix), generator, top=5, tolerance=0.5, residual_tolerance=0.9, restarts=1)
    explicit = (found.eigenvectors @ matrix - found.eigenvalues.unsqueeze(1) * found.eigenvectors).norm(dim=1)
    assert (explicit <= found.residuals).all()
    assert (distances(found, eigenvalues(matrix)) <= found.residuals).all()


def test_the_basis_stays_orthonormal_over_ten_decades(symmetric, generator):
    matrix = symmetric(10.0 ** -torch.linspace(0, 10, 60, dtype=torch.float64))
    found = lanczos(MatrixOperator(matrix), generator, top=60)
    gram = found.eigenvectors @ found.eigenvectors.mT
    torch.testing.assert_close(gram, torch.eye(60, dtype=torch.float64), rtol=0, atol=1e-13)


def test_a_warm_start_saves_products(symmetric, generator):
    matrix = symmetric(SPECTRA["outliers"])
    cold = lanczos(MatrixOperator(matrix), generator, top=3)
    drifted = matrix + 1e-3 * symmetric(torch.linspace(-1, 1, len(matrix)))
    start = cold.eigenvectors.sum(0)
    warm = lanczos(MatrixOperator(drifted), generator, top=3, start=start)
    true = eigenvalues(drifted)[:3]
    assert ((warm.eigenvalues - true) / true).abs().max() < 1e-3
    assert warm.num_matvecs < cold.num_matvecs
    assert torch.equal(start, cold.eigenvectors.sum(0))


def test_an_operator_that_is_not_quite_symmetric_shows_it_in_the_residual(symmetric, generator):
    noise = 1e-4 * torch.randn(205, 205, dtype=torch.float64, generator=generator)
    matrix = symmetric(SPECTRA["outliers"]) + noise
    found = lanczos(MatrixOperator(matrix), generator, top=3, residual_tolerance=1e-3)
    explicit = (found.eigenvectors @ matrix.mT - found.eigenvalues.unsqueeze(1) * found.eigenvectors).norm(dim=1)
    assert (explicit <= found.residuals).all()
    assert (found.residuals > 1e-5).all()


def test_too_few_products_are_admitted(symmetric, generator):
    matrix = symmetric(torch.linspace(0, 1, 300))
    found = lanczos(MatrixOperator(matrix), generator, top=3, max_matvecs=9)
    assert not found.converged
    assert found.num_matvecs == 9
    assert (distances(found, eigenvalues(matrix)) <= found.residuals).all()


def test_a_space_smaller_than_what_is_asked_for(symmetric, generator):
    found = lanczos(MatrixOperator(symmetric([4.0, -1])), generator, top=5, bottom=2)
    torch.testing.assert_close(found.eigenvalues, torch.tensor([4.0, -1], dtype=torch.float64))
    assert found.converged
    assert lanczos(MatrixOperator(torch.tensor([[4.0]])), generator).eigenvalues.tolist() == [4]


def test_equal_generators_give_equal_results(symmetric):
    matrix = MatrixOperator(symmetric(SPECTRA["outliers"]))
    state = torch.get_rng_state()
    first, second = (lanczos(matrix, torch.Generator().manual_seed(3), top=2) for _ in range(2))
    assert torch.equal(first.eigenvectors, second.eigenvectors)
    assert torch.equal(state, torch.get_rng_state())


def test_a_product_that_is_not_finite_raises(generator):
    with pytest.raises(FloatingPointError, match="not finite"):
        lanczos(MatrixOperator(torch.full((3, 3), float("nan"))), generator)


@pytest.mark.parametrize(
    "wrong", [{"top": 0}, {"top": -1}, {"bottom": -1}, {"tolerance": 0}, {"max_matvecs": 0}, {"residual_tolerance": 0}]
)
def test_numbers_that_make_no_sense_are_rejected(wrong, generator):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        lanczos(MatrixOperator(torch.eye(3)), generator, **wrong)


def test_magnitudes_have_no_bottom(generator):
    with pytest.raises(ValueError, match="bottom: got 1"):
        lanczos(MatrixOperator(torch.eye(3)), generator, bottom=1, by_magnitude=True)


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(-100, 100).map(lambda x: round(x, 1)), min_size=1, max_size=10),
    top=st.integers(1, 3),
    bottom=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_any_small_matrix(values, top, bottom, seed):
    draw = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64, generator=draw)).Q
    matrix = (q * torch.tensor(values, dtype=torch.float64)) @ q.mT
    matrix = (matrix + matrix.mT) / 2
    true = eigenvalues(matrix)
    found = lanczos(MatrixOperator(matrix), draw, top, bottom, residual_tolerance=1e-3)
    assert found.converged
    assert (distances(found, true) <= found.residuals).all()
    assert (found.eigenvalues.diff() <= 0).all()
