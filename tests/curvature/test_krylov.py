"""The Krylov bases of several operators at once, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boundcheck.curvature.krylov import Krylov, run


def product(matrices):
    return lambda vectors: (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def drawing(shape, dtype=torch.float64, seed=9):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, dtype=dtype, generator=generator)


def check(krylov, matrices, slack=1e-12):
    """Rows are orthonormal, the Rayleigh matrices are theirs, and the residuals bound those of all Ritz pairs."""
    rows, size = krylov.rows.double(), matrices.double().abs().amax()
    unit = torch.eye(krylov.num_products, dtype=torch.float64).expand_as(krylov.rayleigh)
    torch.testing.assert_close(rows @ rows.mT, unit, rtol=0, atol=slack)
    expected = rows @ matrices.double() @ rows.mT
    torch.testing.assert_close(krylov.rayleigh, expected, rtol=0, atol=30 * slack * max(size.item(), 1e-300))
    values, vectors = torch.linalg.eigh(krylov.rayleigh)
    lifted = krylov.lift(vectors).double()
    explicit = (lifted @ matrices.double() - values.unsqueeze(-1) * lifted).norm(dim=-1)
    residuals = krylov.residuals(values, vectors)
    assert (explicit <= residuals).all()
    return explicit, residuals


def test_a_product_that_almost_lies_in_the_basis_is_orthogonalised_twice(symmetric):
    """Ae₂ = e₀ + 1e-9 e₃, turned by a random frame: not symmetric, so the third product falls onto the first row."""
    frame = torch.linalg.eigh(symmetric(torch.arange(30.0))).eigenvectors
    shift = torch.zeros(30, 30, dtype=torch.float64)
    shift[1, 0] = shift[2, 1] = shift[0, 2] = 1
    shift[3, 2] = 1e-9
    krylov = Krylov(product(frame @ shift @ frame.mT), frame[:, 0][None], 4)
    run(krylov)
    torch.testing.assert_close(
        krylov.rows[0] @ krylov.rows[0].mT, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-13
    )


def begin_again_at(stop_at, krylov, fresh):
    """End all chains after so many products, and go on with new ones."""
    run(krylov, lambda krylov: krylov.num_products == stop_at, fresh)
    if not krylov.is_full:
        krylov.extend(torch.ones_like(krylov.has_broken_down), fresh)
        run(krylov, fresh=fresh)


def test_the_rayleigh_matrix_is_that_of_the_rows(symmetric):
    matrices = torch.stack([symmetric(torch.linspace(-2, 3, 40)), symmetric(torch.linspace(-1, 0, 40) ** 5)])
    start = torch.ones(2, 40, dtype=torch.float64)
    krylov = Krylov(product(matrices), start, 34)  # more rows than are allocated first
    begin_again_at(10, krylov, drawing((2, 40)))
    assert krylov.num_products == 34
    explicit, residuals = check(krylov, matrices, slack=1e-13)
    assert (residuals <= 3 * explicit + 1e-10).all()
    assert torch.equal(start, torch.ones(2, 40, dtype=torch.float64))


def test_a_basis_that_begins_with_pairs_of_another(symmetric):
    matrices = torch.stack([symmetric(torch.linspace(-2, 3, 40)), symmetric(torch.linspace(-1, 0, 40) ** 5)])
    first = Krylov(product(matrices), drawing((2, 40))(), 12)
    run(first)
    values, vectors = torch.linalg.eigh(first.rayleigh)
    kept, columns = values[:, -3:], vectors[:, :, -3:]
    second = first.restarted(kept, columns, first.residuals(kept, columns), drawing((2, 40), seed=4)(), 15)
    run(second)
    assert second.num_products == 3 + 15
    torch.testing.assert_close(second.rows[:, :3], first.lift(columns), rtol=0, atol=1e-13)
    torch.testing.assert_close(second.rayleigh[:, :3, :3], torch.diag_embed(kept), rtol=0, atol=1e-13)
    check(second, matrices, slack=1e-12)


def test_a_stack_is_its_operators_one_by_one(symmetric):
    """One of them breaks down at once, one has outliers, one is zero."""
    spectra = [torch.ones(30), torch.tensor([50.0, 30, *torch.linspace(-1, 1, 28)]), torch.zeros(30)]
    matrices = torch.stack([symmetric(values) for values in spectra])
    start = drawing((3, 30))()
    fresh = drawing(30)()
    together = Krylov(product(matrices), start, 12)
    run(together, fresh=lambda: fresh.expand(3, -1))
    check(together, matrices)
    for i in range(3):
        alone = Krylov(product(matrices[i]), start[i : i + 1], 12)
        run(alone, fresh=lambda: fresh.expand(1, -1))
        torch.testing.assert_close(alone.rayleigh[0], together.rayleigh[i], rtol=0, atol=1e-11)


def test_without_reorthogonalisation_the_first_steps_are_the_same_and_two_rows_are_kept(symmetric):
    matrices = torch.stack([symmetric(torch.linspace(0, 1, 50)), symmetric(torch.linspace(-3, 1, 50))])
    start = drawing((2, 50))()
    full, short = (Krylov(product(matrices), start, 8, reorthogonalise=choice) for choice in (True, False))
    run(full)
    run(short)
    torch.testing.assert_close(short.rayleigh, full.rayleigh, rtol=0, atol=1e-10)
    assert short.rows.numel() == 0


@pytest.mark.parametrize("reorthogonalise", [True, False])
def test_zeros_follow_a_breakdown_where_nothing_is_drawn(symmetric, reorthogonalise):
    matrices = torch.stack([2 * torch.eye(30, dtype=torch.float64), symmetric(torch.linspace(-3, 1, 30))])
    krylov = Krylov(product(matrices), drawing((2, 30))(), 5, reorthogonalise)
    run(krylov)
    expected = torch.diag(torch.tensor([2.0, 0, 0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(krylov.rayleigh[0], expected)
    assert krylov.has_broken_down.tolist() == [True, False]


def test_an_operator_that_is_not_finite_leaves_the_others_alone(symmetric):
    matrices = torch.stack([symmetric(torch.linspace(-3, 1, 30))] * 2)
    matrices[0, 3, 4] = torch.nan
    start = drawing((2, 30))()
    krylov, alone = Krylov(product(matrices), start, 6), Krylov(product(matrices[1]), start[1:], 6)
    run(krylov)
    run(alone)
    assert krylov.rayleigh[0].isnan().any()
    torch.testing.assert_close(krylov.rayleigh[1], alone.rayleigh[0], rtol=0, atol=1e-12)


@given(
    spectra=st.lists(
        st.lists(st.floats(-100, 100).map(lambda x: round(x, 1)), min_size=8, max_size=8), min_size=1, max_size=4
    ),
    num_products=st.integers(1, 8),
    stop_at=st.integers(1, 8),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    seed=st.integers(0, 1000),
)
def test_any_stack_of_small_matrices(spectra, num_products, stop_at, dtype, seed):
    """With multiple eigenvalues, breakdowns and a restart; all products give all eigenvalues."""
    draw = torch.Generator().manual_seed(seed)
    frames = torch.linalg.qr(torch.randn(len(spectra), 8, 8, dtype=torch.float64, generator=draw)).Q
    matrices = (frames * torch.tensor(spectra, dtype=torch.float64)[:, None]) @ frames.mT
    matrices = ((matrices + matrices.mT) / 2).to(dtype)
    fresh = drawing((len(spectra), 8), dtype, seed)
    krylov = Krylov(product(matrices), fresh(), num_products)
    begin_again_at(stop_at, krylov, fresh)
    assert krylov.num_products == num_products
    epsilon = torch.finfo(dtype).eps
    check(krylov, matrices, slack=100 * epsilon)
    true, found = torch.linalg.eigvalsh(matrices.double()), torch.linalg.eigvalsh(krylov.rayleigh)
    if num_products == 8:
        assert ((found - true).abs() <= 1000 * epsilon * true.abs().amax(-1, keepdim=True) + 1e-300).all()
    assert (found[:, -1] <= true[:, -1] + 1000 * epsilon * true.abs().amax(-1)).all()
