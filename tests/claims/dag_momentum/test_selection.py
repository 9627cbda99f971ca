"""What the claims on momentum look at: the cells of both scales that have them, and nothing that somebody adds."""

from pathlib import Path

import pytest

from boundcheck.cells.resolved import resolved_settings
from boundcheck.claims import CHECKS, CLAIMS
from boundcheck.planning.claims import deciding_settings
from boundcheck.planning.grid import make_plan
from boundcheck.registry import build

CONFIG = Path(__file__).resolve().parents[3] / "config"


def built(plan):
    """The checks and claims of the study by name."""
    study = plan.config["studies"]["dag_momentum"]
    checks = {name: build(CHECKS, variant) for name, variant in study["checks"].items()}
    claims = {name: build(CLAIMS, deciding_settings(variant)) for name, variant in study["claims"].items()}
    return checks, claims


def cells_of_plan(plan):
    cells = {}
    for batch in plan.of_study("dag_momentum"):
        settings = resolved_settings({**batch.train, "analyses": list(batch.analyses)})
        roles, seeds = list(batch.roles), list(batch.seeds)
        cells[batch.dataset, batch.model, batch.method] = {**settings, "roles": roles, "seeds": seeds}
    return cells


@pytest.fixture(scope="module", params=[(), ("paper.yaml",)], ids=["default", "paper"])
def plan(request):
    return make_plan([CONFIG / name for name in ("config.yaml", *request.param)])


def test_every_check_and_claim_of_a_scale_has_cells_and_baselines(plan):
    checks, claims = built(plan)
    cells = cells_of_plan(plan)
    assert (len(checks), len(claims)) == (15, 36)
    never = {name: kind.selects(cells).never for name, kind in (checks | claims).items()}
    assert {name: reasons for name, reasons in never.items() if reasons} == {}
    assert min(kind.selects(cells).num_seeds for kind in claims.values()) == 3
    for name in ("adaptive_momentum_is_faster_than_nesterov", "dag_trains_faster_than_equal_parameters"):
        assert None not in claims[name].selects(cells).baselines.values(), name


def test_the_ends_of_a_claim_on_breaks(plan):
    """Beyond the limit, and within it, the same data."""
    cells = cells_of_plan(plan)
    _, claims = built(plan)
    beyond = claims["descent_breaks_beyond_the_limit"].selects(cells).cells
    assert {cells[key]["method"]["kind"] for key in beyond} == {"adaptive_momentum", "heavy_ball", "nesterov"}
    assert len(beyond) == 5


def test_an_added_arm_is_selected_by_no_comparison(plan):
    """A copy of each cell under another name, in a block of another role, or in the role `main`."""
    cells = cells_of_plan(plan)
    _, claims = built(plan)
    for role in ("sweep", "main"):
        arms = {(*key[:2], f"{key[2]}_again"): {**cell, "roles": [role]} for key, cell in cells.items()}
        for name, claim in claims.items():
            if role == "sweep" or claim.roles != ("main",):
                assert claim.selects(cells | arms) == claim.selects(cells), name
    assert sum(claim.roles != ("main",) for claim in claims.values()) == 17
