"""Arguments of theorems: float64 in, readable refusals, and NaN that passes."""

from __future__ import annotations

import numpy as np
import pytest

from boundcheck.theory.arguments import floats, reject


def test_floats_are_float64_and_keep_their_shapes():
    a, b = floats(3, [[1, 2]])
    assert a.dtype == b.dtype == np.float64
    assert (a.shape, b.shape) == ((), (1, 2))


def test_rejection_names_the_first_value_that_is_not_allowed():
    rho = np.array([0.1, -2.0, -3.0])
    with pytest.raises(ValueError, match=r"^rho: got -2; allowed: > 0$"):
        reject("rho", rho, rho <= 0, "> 0")


def test_rejection_broadcasts_the_value_over_the_condition():
    with pytest.raises(ValueError, match=r"lr: got 0\.5"):
        reject("lr", 0.5, np.array([False, True]), "smaller")


def test_missing_numbers_pass():
    rho = np.array([np.nan, 1.0])
    reject("rho", rho, rho <= 0, "> 0")
