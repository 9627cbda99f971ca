"""Cells that a theorem gives no bound for, and why."""

import pandas as pd
import pytest

from boundcheck.claims.shared.bound_sweep import BoundSweep
from boundcheck.contracts import NAN

MLP = {"kind": "weight_norm_mlp", "depth": 1, "width": 2}
SPECS = {
    "inside": MLP,
    "twin": MLP | {"normalised": False, "scales": "plain"},
    "gains": MLP | {"gains": "trainable"},
    "covered": MLP | {"gains": "trainable"},
    "another": {"kind": "mlp", "depth": 1, "width": 2},
}


@pytest.fixture
def tables(make_tables):
    """Two inequalities on each model; of `covered` one has a bound."""
    tables = make_tables({("d", model, "gd"): {0: 1.0} for model in SPECS}, specs=SPECS)
    rows = [
        {
            "check": "c",
            "dataset": "d",
            "model": model,
            "method": "gd",
            "bound": 1.0 if (model, i) == ("covered", 1) else NAN,
        }
        for model in SPECS
        for i in (0, 1)
    ]
    return tables._replace(checks=pd.DataFrame([*rows, rows[0] | {"check": "other", "bound": 1.0}]))


def test_only_kinds_with_a_reason_have_one_and_only_where_nothing_is_bounded(tables):
    assert BoundSweep(check="c").not_applicable(tables) == {
        ("d", "twin", "gd"): "its rows are not normalised and its scales are plain, not the paper's",
        ("d", "gains", "gd"): "it has trainable gains",
    }
    assert BoundSweep(check="other").not_applicable(tables) == {}
    assert BoundSweep(check="nothing").not_applicable(tables) == {}
