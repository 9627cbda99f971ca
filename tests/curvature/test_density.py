from __future__ import annotations

import pytest
import torch

from boundcheck.curvature.density import spectral_quadrature
from boundcheck.curvature.operator import MatrixOperator, random_direction


def test_one_probe_integrates_polynomials_of_its_own_measure(symmetric):
    matrix = symmetric([3.0, 1, 0.5, -2, 0.1, 0.2, 4, -1])
    start = random_direction(MatrixOperator(matrix), torch.Generator().manual_seed(5))
    found = spectral_quadrature(MatrixOperator(matrix), 4, 1, torch.Generator().manual_seed(5))
    for power in range(8):  # degree 2·4 − 1
        expected = start @ torch.linalg.matrix_power(matrix, power) @ start
        assert found.moment(power) == pytest.approx(expected.item(), abs=1e-12 * 4**power)


def test_moments_converge_to_those_of_the_spectrum(symmetric, generator):
    values = torch.cat([torch.tensor([5.0, -2]), torch.linspace(-0.5, 1, 98)]).double()
    found = spectral_quadrature(MatrixOperator(symmetric(values)), 8, 120, generator)
    for power in (1, 2, 3):
        assert found.moment(power) == pytest.approx((values**power).mean().item(), rel=0.1)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(120, dtype=torch.float64))


def test_the_smoothed_density_has_mass_one_and_its_bumps_where_the_eigenvalues_are(symmetric, generator):
    values = [*torch.full((60,), -1.0), *torch.full((40,), 2.0)]
    found = spectral_quadrature(MatrixOperator(symmetric(values)), 10, 200, generator)
    grid = torch.linspace(-3, 4, 2001, dtype=torch.float64)
    density = found.density(grid, 0.05)
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-9)
    assert torch.trapezoid(density[grid < 0], grid[grid < 0]).item() == pytest.approx(0.6, abs=0.02)
    assert grid[density.argmax()].item() == pytest.approx(-1, abs=1e-2)


def test_a_breakdown_is_padded_with_weight_zero(symmetric, generator):
    found = spectral_quadrature(MatrixOperator(symmetric([3.0, *torch.zeros(19)])), 8, 2, generator)
    assert found.nodes.shape == found.weights.shape == (2, 8)
    assert (found.weights[:, 3:] == 0).all()
    torch.testing.assert_close(found.weights.sum(1), torch.ones(2, dtype=torch.float64))
    assert spectral_quadrature(MatrixOperator(torch.eye(1)), 8, 1, generator).nodes.tolist() == [[1.0]]


@pytest.mark.parametrize("wrong", ["num_steps", "num_probes"])
def test_counts_below_one_are_rejected(wrong, generator):
    with pytest.raises(ValueError, match=f"{wrong}: got 0"):
        spectral_quadrature(
            MatrixOperator(torch.eye(3)), **{"num_steps": 2, "num_probes": 2, wrong: 0}, generator=generator
        )
