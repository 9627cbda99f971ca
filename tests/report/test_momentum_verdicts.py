"""Momentum through the real stages: where a premise holds the conclusion does, and a wrong step is found out."""

import copy
import json
from pathlib import Path

import pandas as pd
import pytest

from boundcheck.cells.resolved import resolved_settings
from boundcheck.data.fetch import fetch
from boundcheck.measuring.measure import measure
from boundcheck.methods.adaptive_momentum import AdaptiveMomentum
from boundcheck.planning.grid import make_plan
from boundcheck.report.check import check
from boundcheck.training.train import train

CELLS = (
    "digits60_pool4/dag_small/adaptive_s0.5_decay",
    "digits60_pool4/dag_small_sigmoid/adaptive_s0.5_a_priori",
    "digits200/dag_code8/adaptive_s0.5_paper",
    "digits200/dag_code8/heavy_ball_0.99_lyapunov",
)
STEPS = 40


@pytest.fixture(scope="module")
def plan():
    return make_plan([Path(__file__).resolve().parents[2] / "config/config.yaml"])


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "arrays.safetensors"
    fetch({"kind": "digits"}, path)
    return path


def checked(plan, cells, arrays, identity_of, folder):
    """The check rows and the decisions of the paper, from its cells cut down to forty steps of two seeds."""
    batches = {batch.cell.partition("/")[2]: batch for batch in plan.of_study("dag_momentum")}
    for cell in cells:
        spec = copy.deepcopy(dict(plan.measure_spec(batches[cell].folder)))
        spec["training"] = {**spec["training"], "epochs": STEPS, "evaluate_every": STEPS}
        spec |= {"snapshots": [0, STEPS], "seeds": [0, 1]}
        output = folder / cell / "seeds_0-1"
        train({key: value for key, value in spec.items() if key != "analyses"}, arrays, output)
        if spec["analyses"]:
            measure(spec, arrays, output / "snapshots", output / "measurements.parquet")
    plan.resolved = {batch.cell: {} for batch in plan.batches.values()}
    spec = plan.check_spec("dag_momentum")
    names = [f"{cell}/seeds_0-1" for cell in cells]
    spec |= {"batches": {name: identity_of(folder / name) for name in names}, "skipped": []}
    for cell in cells:
        settings = resolved_settings(plan.measure_spec(batches[cell].folder))
        spec["cells"][cell] |= {**settings, "training": {**settings["training"], "epochs": STEPS}}
    check(spec, folder, folder)
    claims = pd.read_parquet(folder / "claims.parquet").set_index("claim")
    return pd.read_parquet(folder / "checks.parquet"), claims


def violated(rows):
    return rows[rows["premise_holds"] & ~rows["holds"].fillna(True).astype(bool)]


def test_no_theorem_fails_where_its_premise_holds(plan, arrays, identity_of, tmp_path):
    rows, claims = checked(plan, CELLS, arrays, identity_of, tmp_path)
    assert not len(violated(rows)), violated(rows).to_string()
    held = rows[rows["premise_holds"]]
    assert set(held["check"]) == set(plan.check_spec("dag_momentum")["checks"])  # each of them met its premise
    kinds = ["theorem_holds", "step_theorem", "certified_theorem", "certified_descent", "predicted_decrease"]
    assert set(claims.loc[claims["kind"].isin(kinds), "decision"]) <= {"supported", "vacuous"}
    assert claims.loc["heavy_ball_has_a_lyapunov_function", "decision"] in ("supported", "inconclusive")
    assert claims.loc["a_priori_step_descends_with_sigmoid_layers", "decision"] != "contradicted"
    for figures in claims["figures"]:
        assert {figure["mark"] for figure in json.loads(figures)} <= {"line", "points", "interval", "picture"}


def test_a_step_that_is_not_the_method_is_found_out(plan, arrays, identity_of, tmp_path, monkeypatch):
    """A momentum three times too long breaks the bracket of the step, whose only premise is s < 1."""

    def too_long(self, gradient, velocity):
        return 3 * ratio(self, gradient, velocity)

    ratio = AdaptiveMomentum._ratio
    monkeypatch.setattr(AdaptiveMomentum, "_ratio", too_long)
    rows, claims = checked(plan, ["digits200/dag_code8/adaptive_s0.5"], arrays, identity_of, tmp_path)
    assert {"lengths_and_angles", "speed_limit"} <= set(violated(rows)["check"])
    assert claims.loc["steps_are_never_longer_than_momentum_allows", "decision"] == "contradicted"
