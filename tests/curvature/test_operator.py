from __future__ import annotations

import torch

from boundcheck.curvature.operator import DifferenceOperator, MatrixOperator, dense, random_direction


def test_dense_rebuilds_the_matrix(symmetric):
    matrix = symmetric([3, 1, -2])
    torch.testing.assert_close(dense(MatrixOperator(matrix)), matrix, rtol=0, atol=0)


def test_the_difference_is_the_difference(symmetric):
    first, second = symmetric([3, 1, -2]), symmetric([1, 1, 5])
    difference = DifferenceOperator(MatrixOperator(first), MatrixOperator(second))
    torch.testing.assert_close(dense(difference), first - second, rtol=0, atol=1e-15)
    assert (difference.size, difference.dtype, difference.device) == (3, torch.float64, torch.device("cpu"))


def test_a_random_direction_has_length_one_and_leaves_the_global_generator_alone(symmetric):
    operator = MatrixOperator(symmetric([3, 1, -2]))
    state = torch.get_rng_state()
    directions = [random_direction(operator, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(directions[0], directions[1])
    assert not torch.equal(directions[0], directions[2])
    assert abs(directions[0].norm() - 1) < 1e-15
