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


def cluster(distance):
    """Five values within a relative distance below 9, of both signs, and a bulk."""
    near = 9 * (1 - distance * torch.linspace(0, 1, 5, dtype=torch.float64))
    return torch.cat([near, -near, BULK])


HARD = {
    **{f"{copies} copies": torch.cat([torch.full((copies,), 23.0).double(), BULK]) for copies in (2, 5, 10, 12)},
    "copies behind outliers": torch.tensor([100.0, 70, 50, 50, 50, 50, *BULK]),
    "copies of several": torch.tensor([100.0, 100, 50, 50, 50, 20, 20, *BULK]),
    "copies at both ends": torch.tensor([9.0, 9, 9, *BULK, -7, -7, -7, -7]),
    **{f"within {distance:g}": cluster(distance) for distance in (1e-3, 1e-6, 1e-10)},
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ends", [(2, 1), (5, 0), (0, 5), (3, 3), (12, 1)])
def test_copies_and_close_eigenvalues_are_all_found(symmetric, name, dtype, ends):
    matrix, (top, bottom) = symmetric(HARD[name].double()).to(dtype), ends
    true = eigenvalues(matrix)
    expected = torch.cat([true[:top], true[len(true) - bottom :]])
    for seed in range(2):
        found = lanczos(MatrixOperator(matrix), torch.Generator().manual_seed(seed), top, bottom)
        assert found.converged
        apart = (found.eigenvalues - expected).abs()
        assert (apart[expected.abs() > 1] <= 1e-3 * expected.abs()[expected.abs() > 1]).all()  # outside the bulk
        assert (apart <= found.errors)[torch.tensor([top > 1] * top + [bottom > 1] * bottom)].all()
        vectors = found.eigenvectors.double()
        rests = vectors @ matrix.double() - found.eigenvalues.unsqueeze(1) * vectors
        assert (rests.norm(dim=1) <= found.residuals).all()
        assert (vectors @ vectors.mT - torch.eye(top + bottom)).abs().max() < 100 * torch.finfo(dtype).eps


def test_too_few_products_for_all_copies_are_admitted(symmetric):
    matrix = MatrixOperator(symmetric(HARD["12 copies"]))
    for limit in (10, 20, 30, 40, 60):
        found = lanczos(matrix, torch.Generator().manual_seed(0), 12, max_matvecs=limit)
        assert not found.converged
        assert found.num_matvecs <= limit
    assert lanczos(matrix, torch.Generator().manual_seed(0), 12).converged


def test_a_chain_that_finds_nothing_changes_no_value(symmetric):
    """The values are those of the first chain, which is that of a single eigenvalue until it stops."""
    matrix = MatrixOperator(symmetric(SPECTRA["outliers"]))
    limited = [lanczos(matrix, torch.Generator().manual_seed(0), 3, max_matvecs=n) for n in range(10, 40)]
    settled = next(i for i, found in enumerate(limited) if found.converged)
    values = [found.eigenvalues for found in limited]
    assert any(torch.equal(values[settled], earlier) for earlier in values[:settled])
    assert torch.equal(values[settled], values[-1])


def test_copies_of_the_smallest_magnitude_asked_for(symmetric, generator):
    found = lanczos(MatrixOperator(symmetric([9.0, 9, -9, -9, 5, *BULK])), generator, top=4, by_magnitude=True)
    assert found.converged
    torch.testing.assert_close(found.eigenvalues.abs(), torch.full((4,), 9.0).double())
    assert (found.eigenvalues > 0).sum() == 2


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
    cold = lanczos(matrix, generator, top=1, bottom=1)
    assert cold.num_matvecs == 2 * 2 + 3
    assert lanczos(matrix, generator, top=1, bottom=1, start=cold.eigenvectors[0]).num_matvecs == 2 + 2
    assert lanczos(matrix, generator, top=3).num_matvecs > 2 * 3 + 3  # and what it takes that no copy was missed


def test_an_eigenvalue_near_zero_is_wanted_only_to_a_part_of_the_norm(symmetric, generator):
    matrix = symmetric([50.0, 30, 20, *torch.linspace(0, 0.1, 300)])
    found = lanczos(MatrixOperator(matrix), generator, top=1, bottom=1)
    assert found.converged
    assert found.num_matvecs < 20
    assert abs(found.eigenvalues[1]) <= found.residuals[1] < 0.1


def test_residuals_count_what_is_left_of_loose_pairs(symmetric, generator):
    matrix = symmetric(SPECTRA["outliers"])
    found = lanczos(MatrixOperator(matrix), generator, top=5, tolerance=0.5, residual_tolerance=0.9)
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


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.sampled_from([-50.0, -20.0, -7.0, 3.0, 8.0, 20.0, 20.001, 49.9, 50.0]), min_size=1, max_size=12),
    width=st.floats(0.1, 5),
    top=st.integers(2, 6),
    bottom=st.integers(0, 6),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_what_is_called_converged_lies_within_its_error(values, width, top, bottom, seed, dtype):
    draw = torch.Generator().manual_seed(seed)
    spectrum = torch.tensor([*values, *torch.linspace(-width, width, 80)], dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(len(spectrum), len(spectrum), dtype=torch.float64, generator=draw)).Q
    matrix = ((q * spectrum) @ q.mT).to(dtype)
    matrix = (matrix + matrix.mT) / 2
    true = eigenvalues(matrix)
    found = lanczos(MatrixOperator(matrix), draw, top, bottom, max_matvecs=70)
    expected = torch.cat([true[:top], true[len(true) - bottom :]])
    assert (found.errors >= found.residuals * (1 - 1e-12)).all()
    if found.converged:
        checked = torch.tensor([True] * top + [bottom > 1] * bottom)
        assert ((found.eigenvalues - expected).abs() <= found.errors)[checked].all()
