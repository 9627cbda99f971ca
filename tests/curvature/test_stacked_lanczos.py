"""Lanczos on several matrices at once, against their eigenvalues."""

import pytest
import torch

from boundcheck.curvature.stacked_lanczos import stacked_extremes


@pytest.fixture
def matrices():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(4, 30, 30, generator=generator, dtype=torch.float64)
    return A + A.mT, torch.randn(4, 30, generator=generator, dtype=torch.float64)


def product(A):
    return lambda v: torch.einsum("kij,kj->ki", A, v)


def test_all_products_give_both_ends(matrices):
    A, start = matrices
    values = torch.linalg.eigvalsh(A)
    found = stacked_extremes(product(A), start, 50)
    torch.testing.assert_close(found.largest, values[:, -1], rtol=1e-10, atol=0)
    torch.testing.assert_close(found.smallest, values[:, 0], rtol=1e-10, atol=0)
    moved = product(A)(found.vector)
    torch.testing.assert_close(moved, found.largest[:, None] * found.vector, rtol=0, atol=1e-8)


@pytest.mark.parametrize("num_products", [1, 5, 12])
def test_fewer_give_bounds(matrices, num_products):
    A, start = matrices
    values = torch.linalg.eigvalsh(A)
    found = stacked_extremes(product(A), start, num_products)
    assert (found.largest <= values[:, -1] * (1 + 1e-12)).all()
    assert (found.smallest >= values[:, 0] * (1 + 1e-12)).all()
    residual = (product(A)(found.vector) - found.largest[:, None] * found.vector).norm(dim=1)
    torch.testing.assert_close(found.residual, residual, rtol=1e-8, atol=1e-8)
    nearest = (values - found.largest[:, None]).abs().amin(1)
    assert (nearest <= found.residual * (1 + 1e-9) + 1e-10).all()


def test_a_warm_start_needs_one_product(matrices):
    A, _ = matrices
    vectors = torch.linalg.eigh(A).eigenvectors[:, :, -1]
    found = stacked_extremes(product(A), vectors, 1)
    torch.testing.assert_close(found.largest, torch.linalg.eigvalsh(A)[:, -1], rtol=1e-10, atol=0)


def test_an_invariant_subspace_ends_without_harm(matrices):
    """Of rank one and negative: the zero vectors that fill up must not count as an eigenvalue 0."""
    A, start = matrices
    negative = -torch.eye(30, dtype=torch.float64).expand(4, 30, 30)
    found = stacked_extremes(product(negative), start, 8)
    torch.testing.assert_close(found.largest, -torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(found.smallest, -torch.ones(4, dtype=torch.float64))
    mixed = torch.cat([negative[:1], A[1:]])
    alone = stacked_extremes(product(A), start, 8)
    together = stacked_extremes(product(mixed), start, 8)
    torch.testing.assert_close(together.largest[1:], alone.largest[1:], rtol=1e-12, atol=0)


def test_a_slice_that_is_not_finite_leaves_the_others_alone(matrices):
    A, start = matrices
    alone = stacked_extremes(product(A), start, 8)
    A = A.clone()
    A[1, 0, 0] = float("nan")
    found = stacked_extremes(product(A), start, 8)
    assert found.largest.isnan().tolist() == [False, True, False, False]
    for i in (0, 2, 3):
        assert found.largest[i] == pytest.approx(alone.largest[i].item(), rel=1e-12)


def test_no_product_is_refused(matrices):
    A, start = matrices
    with pytest.raises(ValueError, match="num_products: got 0; allowed: >= 1"):
        stacked_extremes(product(A), start, 0)
