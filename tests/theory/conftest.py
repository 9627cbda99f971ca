"""Fixtures of the theory tests: a seeded generator, and the comparison of a bound with what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


def holds(measured: float, bound: float, sense: str = "upper", tolerance: float = 1e-12) -> bool:
    """Whether a measured number keeps its bound, up to a relative tolerance."""
    slack = tolerance * max(abs(measured), abs(bound))
    return bool(measured <= bound + slack if sense == "upper" else measured >= bound - slack)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20230303)


@pytest.fixture
def assert_bound() -> Callable[..., None]:
    """Assert that a bound holds with the tightness that the example is known to have, and that a stronger one fails."""

    def check(
        measured: float, bound: float, tightness: float | tuple[float, float], sense: str = "upper", rel: float = 1e-10
    ) -> None:
        assert holds(measured, bound, sense)
        found = bound / measured if sense == "upper" else measured / bound
        if isinstance(tightness, tuple):
            assert tightness[0] <= found <= tightness[1]
        else:
            assert found == pytest.approx(tightness, rel=rel)
        too_strong = bound / (1.1 * found) if sense == "upper" else bound * 1.1 * found
        assert not holds(measured, too_strong, sense)

    return check
