import numpy as np
import pandas as pd
import pytest

from boundcheck.claims.shared.figures import MAX_POINTS, curve_figure, interval_figure, is_logarithmic
from boundcheck.contracts import NAN

RUN = {"dataset": "d", "model": "m", "method": "sgd"}


def curves(epochs, values, seed=0):
    return pd.DataFrame([{**RUN, "seed": seed, "epoch": e, "value": v} for e, v in zip(epochs, values, strict=True)])


def runs(*statuses):
    return pd.DataFrame([{**RUN, "seed": seed, "status": status} for seed, status in enumerate(statuses)])


def test_a_long_curve_is_averaged_in_equal_stretches():
    epochs = np.arange(5000) / 500
    values = 1.0 + np.arange(5000) % 2  # a noise of ±½ around 1.5
    data = curve_figure(curves(epochs, values), runs("done"), "loss").data
    assert MAX_POINTS <= len(data) <= MAX_POINTS + 1
    assert data["y"].to_numpy()[:-1] == pytest.approx(1.5, abs=0.03)
    assert data["x"].is_monotonic_increasing
    assert data["x"].max() <= 10 * (1 + 1 / MAX_POINTS)


def test_a_short_curve_is_left_alone_and_diverged_runs_are_out():
    rows = pd.concat(
        [curves([0, 1, 2], [3.0, 2.0, 1.0]), curves([0, 1, 2], [5.0, 4.0, 3.0], 1), curves([0], [99.0], 2)]
    )
    data = curve_figure(rows, runs("done", "done", "diverged"), "loss").data
    assert data[["x", "y", "low", "high"]].to_numpy().tolist() == [[0, 4, 3, 5], [1, 3, 2, 4], [2, 2, 1, 3]]


def test_two_points_are_no_curve():
    assert curve_figure(curves([0, 1], [1.0, 2.0]), runs("done"), "loss") is None


def test_intervals_without_an_effect_are_left_out():
    shown = {"dataset": "d", "model": "m", "method": "gam", "effect": 1.0, "low": NAN, "high": NAN}
    data = interval_figure([shown, {**shown, "method": "sam", "effect": NAN}], "change", "caption").data
    assert data["series"].tolist() == ["gam"]
    assert data["panel"].tolist() == ["d · m"]


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 31], True), ([1, 29], False), ([0, 100], False), ([-1, 100], False), ([], False)]
)
def test_is_logarithmic(values, expected):
    assert is_logarithmic(pd.Series(values, dtype=float)) is expected
