from __future__ import annotations

import torch

from boundcheck.curvature.krylov import KrylovBasis
from boundcheck.curvature.operator import MatrixOperator


def test_a_product_that_almost_lies_in_the_basis_is_orthogonalised_twice(symmetric):
    """Ae₂ = e₀ + 1e-9 e₃, turned by a random frame: not symmetric, so the third product falls onto the first row."""
    frame = torch.linalg.eigh(symmetric(torch.arange(30.0))).eigenvectors
    shift = torch.zeros(30, 30, dtype=torch.float64)
    shift[1, 0] = shift[2, 1] = shift[0, 2] = 1
    shift[3, 2] = 1e-9
    basis = KrylovBasis(MatrixOperator(frame @ shift @ frame.mT))
    basis.add(frame[:, 0])
    for _ in range(3):
        basis.expand()
        basis.extend()
    basis.expand()
    torch.testing.assert_close(basis.rows @ basis.rows.mT, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-13)


def test_the_rayleigh_matrix_is_that_of_the_rows(symmetric, generator):
    matrix = symmetric(torch.linspace(-2, 3, 40))
    basis = KrylovBasis(MatrixOperator(matrix))
    start = torch.ones(40, dtype=torch.float64)
    basis.add(start)
    for step in range(34):  # beyond the rows that are allocated first
        basis.expand()
        if step == 9:
            basis.restart(torch.arange(40, dtype=torch.float64))
        elif step < 33:
            basis.extend()
    rows = basis.rows
    torch.testing.assert_close(basis.rayleigh, rows @ matrix @ rows.mT, rtol=0, atol=1e-13)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(34, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.equal(start, torch.ones(40, dtype=torch.float64))
    values, vectors = torch.linalg.eigh(basis.rayleigh)
    lifted = basis.lift(vectors)
    explicit = (lifted @ matrix - values.unsqueeze(1) * lifted).norm(dim=1)
    assert (explicit <= basis.residuals(values, vectors)).all()
    assert (basis.residuals(values, vectors) <= 3 * explicit + 1e-10).all()
