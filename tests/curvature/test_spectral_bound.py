"""Certified bounds on spectral norms, against all eigenvalues."""

from __future__ import annotations

import pytest
import torch

from boundcheck.curvature import spectral_bound
from boundcheck.curvature.spectral_bound import EXACT_SIZE, largest_eigenvalue_bound, norm_bound, symmetric_norm_bound

LARGE = EXACT_SIZE + 22


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grams(size):
    """Spectra of all kinds: with and without a gap, of low rank, all equal, zero, and far from 1."""
    x, one = normal(size, size), normal(size, 1, seed=1)
    return torch.stack(
        [
            x @ x.mT,
            (x @ x) @ (x @ x).mT,
            one @ one.mT,
            torch.eye(size, dtype=torch.float64),
            torch.diag(torch.linspace(0, 1, size, dtype=torch.float64)),
            torch.zeros(size, size, dtype=torch.float64),
            1e-200 * x @ x.mT,
            1e200 * x @ x.mT,
        ]
    )


@pytest.mark.parametrize("size", [1, 7, EXACT_SIZE, LARGE])
def test_never_below_the_largest_eigenvalue_and_hardly_above(size):
    matrices = grams(size)
    found, exact = largest_eigenvalue_bound(matrices), torch.linalg.eigvalsh(matrices)[:, -1].clamp_min(0)
    assert (found >= exact * (1 - 1e-14)).all()
    assert (found <= exact * 1.0011).all()


@pytest.mark.parametrize("share", [0.5, 0.9985, 0.99899])
def test_an_estimate_that_is_too_low_is_never_certified(monkeypatch, share):
    matrices = grams(LARGE)
    exact = torch.linalg.eigvalsh(matrices)[:, -1].clamp_min(0)
    monkeypatch.setattr(spectral_bound, "_ritz_values", lambda flat: share * torch.linalg.eigvalsh(flat)[:, -1])
    assert (largest_eigenvalue_bound(matrices) >= exact * (1 - 1e-14)).all()


def test_what_lanczos_cannot_see_is_found():
    """The largest eigenvalue's vector is orthogonal to the start and to its whole Krylov space."""
    start = torch.randn(LARGE, generator=torch.Generator().manual_seed(0)).double()
    hidden = normal(LARGE, seed=3)
    hidden -= (hidden @ start) / (start @ start) * start
    matrix = torch.eye(LARGE, dtype=torch.float64) + 5 * torch.outer(hidden, hidden) / (hidden @ hidden)
    assert 6 * (1 - 1e-14) <= largest_eigenvalue_bound(matrix).item() <= 6.01


def test_ordinary_matrices_need_no_eigenvalues_but_those_of_the_lanczos_steps(monkeypatch):
    sizes, eigvalsh = [], torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda x: sizes.append(x.shape[-1]) or eigvalsh(x))
    largest_eigenvalue_bound(grams(LARGE)[:4])
    assert sizes == [spectral_bound.NUM_STEPS]


@pytest.mark.parametrize("shape", [(3, 5), (LARGE, LARGE + 4), (LARGE + 4, LARGE)])
def test_norms_of_matrices(shape):
    x = normal(2, *shape)
    ratio = norm_bound(x) / torch.linalg.matrix_norm(x, 2)
    assert ratio.min() >= 1 - 1e-14
    assert ratio.max() <= 1.0006


@pytest.mark.parametrize("size", [4, LARGE])
def test_norms_of_symmetric_matrices_of_any_sign(size):
    x = normal(3, size, size)
    x = x + x.mT - 3 * size**0.5 * torch.eye(size)
    ratio = symmetric_norm_bound(x) / torch.linalg.eigvalsh(x).abs().amax(-1)
    assert ratio.min() >= 1 - 1e-14
    assert ratio.max() <= 1.0006


def test_what_is_negligible_is_bounded_by_its_frobenius_norm():
    x = normal(2, LARGE, LARGE) * torch.tensor([1e-6, 1.0])[:, None, None]
    found = norm_bound(x, negligible=torch.full((2,), 1e-3, dtype=torch.float64))
    assert found[0] == torch.linalg.matrix_norm(x[0])
    assert found[1] == norm_bound(x[1:])[0]
    assert torch.equal(norm_bound(x[:, :4, :4], negligible=found), norm_bound(x[:, :4, :4]))


@pytest.mark.parametrize("size", [3, LARGE])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_of_what_is_not_finite_nothing_is_known(size, value):
    x = normal(2, size, size)
    x[1, 0, 2] = value
    for bound in (norm_bound(x), norm_bound(x, negligible=torch.zeros(2, dtype=torch.float64))):
        assert bound.isfinite().tolist() == [True, False]
        assert bound[1] == torch.inf
