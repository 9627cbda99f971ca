"""What a random start may have missed, and what that means for Ritz values, against dense matrices."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boundcheck.curvature.krylov import Krylov, run
from boundcheck.curvature.missed import largest_missed, none_missed, upper_limits


def chains(values, num, seed):
    """The Lanczos matrices after 1, 2, …, num products with a random start."""
    start = torch.randn(1, len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    krylov = Krylov(lambda vectors: vectors * values, start, num)
    run(krylov)
    return [krylov.rayleigh[0, :m, :m] for m in range(1, krylov.num_products + 1)]


BULK = torch.linspace(-1, 1, 100, dtype=torch.float64)


@pytest.mark.parametrize("largest", [1.0, 1.001, 1.1, 3.0, 50.0])
def test_no_eigenvalue_that_is_there_is_excluded(largest):
    values = torch.cat([BULK, torch.tensor([largest]).double()])
    for seed in range(10):
        limits = [largest_missed(chain, 101) for chain in chains(values, 60, seed)]
        assert limits[0] == math.inf
        assert all(limit >= largest - 1e-6 for limit in limits)
        assert limits[-1] < largest + 0.1
        assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(limits[2:]))


def test_the_part_of_the_start_decides():
    """An eigenvector that the start lacks is excluded wrongly, with the probability that is stated."""
    values = torch.cat([BULK, torch.tensor([1.5]).double()])
    start = torch.randn(1, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for part, failure, is_excluded in ((1e-12, 1e-6, True), (1e-3, 1e-6, False), (1e-3, 0.5, True)):
        start[:, -1] = part * start.norm()
        krylov = Krylov(lambda vectors: vectors * values, start, 8 if failure == 0.5 else 22)
        run(krylov)
        chain = krylov.rayleigh[0]
        assert none_missed(chain, 101, 1.5, failure) == is_excluded, part


def test_the_least_excluded_number_is_where_exclusion_begins():
    for chain in chains(BULK, 30, 3)[5:]:
        limit = largest_missed(chain, 100)
        assert none_missed(chain, 100, limit)
        assert not none_missed(chain, 100, limit - 1e-4)


def test_a_chain_that_ended_has_missed_nothing():
    chain = torch.diag(torch.tensor([2.0, 5.0, 1.0], dtype=torch.float64))
    assert largest_missed(chain, 100) == 5
    assert not none_missed(chain, 100, 4.9)
    assert largest_missed(torch.zeros(2, 2).double(), 100) == 0


@given(
    values=st.lists(st.floats(-10, 10), min_size=3, max_size=9),
    num=st.integers(1, 3),
    turn=st.floats(1e-6, 0.5),
    seed=st.integers(0, 1000),
)
def test_limits_bound_the_largest_eigenvalues(values, num, turn, seed):
    """Of Ritz values of vectors near any eigenvectors, the largest or not."""
    draw, n = torch.Generator().manual_seed(seed), len(values)
    matrix = torch.diag(torch.tensor(values, dtype=torch.float64).sort(descending=True).values)
    near = torch.eye(n).double() + turn * torch.randn(n, n, dtype=torch.float64, generator=draw)
    frame = torch.linalg.qr(near).Q
    first, rest = frame[:, :num], frame[:, num:]
    ritz, vectors = torch.linalg.eigh(first.mT @ matrix @ first)
    first = first @ vectors
    residuals = (matrix @ first - first * ritz).norm(dim=0)
    missed = torch.linalg.eigvalsh(rest.mT @ matrix @ rest)[-1].item()
    limits = upper_limits(ritz, residuals, missed)
    assert (limits >= matrix.diagonal()[:num] - 1e-9).all()
    assert (limits.diff() <= 0).all()
    close = upper_limits(ritz, torch.zeros(num).double(), missed)
    torch.testing.assert_close(close, ritz.clamp_min(missed).sort(descending=True).values)
