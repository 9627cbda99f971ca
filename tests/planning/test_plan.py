"""The plan: cells, batches, specs, and what a change of the config touches."""

import copy
import json

import pytest

from boundcheck.planning.config import ConfigError
from boundcheck.planning.grid import make_plan

CONFIG = {
    "name": "tiny",
    "datasets": {"digits": {"kind": "digits", "train_size": 100}},
    "models": {"mlp": {"kind": "mlp", "depth": 1, "sweep": {"width": [8, 16]}}, "net": {"kind": "resnet", "depth": 8}},
    "methods": {
        "sgd": {"kind": "sgd", "lr": 0.1},
        "sgd_long": {"kind": "sgd", "lr": 0.1, "training": {"epochs": "x4"}},
        "gam": {"kind": "gam", "form": "exact", "rho": 0.1, "alpha": 0.1, "base": {"kind": "sgd", "lr": 0.1}},
    },
    "analyses": {"gradient": {"kind": "gradient_norm", "samples": 10}, "spectrum": {"kind": "hessian_spectrum"}},
    "studies": {
        "own": {
            "grid": [
                {
                    "datasets": ["digits"],
                    "models": ["mlp"],
                    "methods": ["sgd", "sgd_long"],
                    "seeds": 6,
                    "training": {"epochs": 2},
                    "snapshots": [0, "last"],
                    "analyses": ["gradient"],
                },
                {
                    "datasets": ["digits"],
                    "models": ["net"],
                    "methods": ["gam"],
                    "seeds": 3,
                    "training": {"epochs": 2},
                },
            ]
        }
    },
}


@pytest.fixture
def plan_of(make_config):
    def plan_of(config):
        plan = make_plan([make_config(config)])
        plan.resolved = {batch.cell: {} for batch in plan.batches.values()}  # as validation fills it
        return plan

    return plan_of


def specs(plan):
    return {folder: json.dumps(batch.train, sort_keys=True) for folder, batch in plan.batches.items()}


def test_cells_times_seeds(plan_of):
    plan = plan_of(CONFIG)
    assert len(plan.batches) == 2 * 2 * 2 + 1  # widths x methods x batches of 3 seeds, and the net
    assert "own/digits/mlp_width8/sgd/seeds_0-2" in plan.batches
    assert plan.batches["own/digits/mlp_width8/sgd/seeds_3-5"].train["seeds"] == [3, 4, 5]


def test_a_multiple_of_the_epochs_moves_the_last_snapshot(plan_of):
    spec = plan_of(CONFIG).batches["own/digits/mlp_width8/sgd_long/seeds_0-2"].train
    assert spec["training"]["epochs"] == 8
    assert spec["snapshots"] == [0, 8]
    assert "training" not in spec["method"]


def test_the_view_of_a_dataset_is_no_reason_to_fetch_again(plan_of):
    assert plan_of(CONFIG).fetch_spec("digits") == {"kind": "digits"}


def test_a_changed_number_touches_its_cells_only(plan_of):
    before = specs(plan_of(CONFIG))
    config = copy.deepcopy(CONFIG)
    config["methods"]["gam"]["rho"] = 0.2
    after = specs(plan_of(config))
    assert {folder for folder in before if before[folder] != after[folder]} == {"own/digits/net/gam/seeds_0-2"}


def test_more_seeds_are_new_batches(plan_of):
    config = copy.deepcopy(CONFIG)
    config["studies"]["own"]["grid"][1]["seeds"] = 6
    before, after = specs(plan_of(CONFIG)), specs(plan_of(config))
    assert {folder: after[folder] for folder in before} == before
    assert set(after) - set(before) == {"own/digits/net/gam/seeds_3-5"}


def test_a_cell_with_two_settings_is_refused(plan_of):
    config = copy.deepcopy(CONFIG)
    config["studies"]["own"]["grid"].append({**config["studies"]["own"]["grid"][0], "training": {"epochs": 3}})
    with pytest.raises(ConfigError, match="two blocks with different training"):
        plan_of(config)


def test_a_block_may_have_its_own_seeds_per_job(plan_of):
    config = copy.deepcopy(CONFIG)
    config["studies"]["own"]["grid"][1]["seeds_per_job"] = 1
    net = [folder for folder in plan_of(config).batches if "/net/" in folder]
    assert net == [f"own/digits/net/gam/seeds_{seed}-{seed}" for seed in range(3)]


def test_a_cell_with_two_seeds_per_job_is_refused(plan_of):
    config = copy.deepcopy(CONFIG)
    config["studies"]["own"]["grid"].append({**config["studies"]["own"]["grid"][1], "seeds_per_job": 1})
    with pytest.raises(ConfigError, match="two blocks with different seeds_per_job"):
        plan_of(config)


def test_blocks_that_share_a_cell_join_their_analyses(plan_of):
    config = copy.deepcopy(CONFIG)
    config["studies"]["own"]["grid"].append({**config["studies"]["own"]["grid"][0], "analyses": ["spectrum"]})
    batch = plan_of(config).batches["own/digits/mlp_width8/sgd/seeds_0-2"]
    assert [variant["name"] for variant in batch.analyses] == ["gradient", "spectrum"]


def test_the_check_spec_lists_the_batches(plan_of):
    spec = plan_of(CONFIG).check_spec("own")
    assert "digits/net/gam/seeds_0-2" in spec["batches"]
    assert len(spec["batches"]) == 9


def test_a_cell_without_resolved_settings_is_no_cell_without_settings(plan_of):
    plan = plan_of(CONFIG)
    del plan.resolved["own/digits/net/gam"]
    with pytest.raises(KeyError, match="own/digits/net/gam"):
        plan.check_spec("own")


def test_code_follows_the_kinds(plan_of):
    plan = plan_of(CONFIG)
    folders = "own/digits/mlp_width8/sgd/seeds_0-2", "own/digits/mlp_width16/sgd/seeds_0-2"
    assert plan.train_code(folders[0]) == plan.train_code(folders[1])
    assert plan.train_code(folders[0]) != plan.train_code("own/digits/net/gam/seeds_0-2")


def test_a_cell_has_the_roles_of_all_its_blocks_and_a_role_retrains_nothing(plan_of):
    config = copy.deepcopy(CONFIG)
    block = config["studies"]["own"]["grid"][0]
    config["studies"]["own"]["grid"].append({**block, "methods": ["sgd"], "role": ["control", "swept"]})
    before, after = plan_of(CONFIG), plan_of(config)
    assert specs(before) == specs(after)
    cells = after.check_spec("own")["cells"]
    assert cells["digits/mlp_width8/sgd"]["roles"] == ["main", "control", "swept"]
    assert cells["digits/mlp_width8/sgd_long"]["roles"] == ["main"]
    assert cells["digits/net/gam"] == {"roles": ["main"], "measured": False}


def test_what_a_claim_says_counts_in_the_report_alone(plan_of):
    config = copy.deepcopy(CONFIG)
    claim = {"kind": "lower_value", "statement": "GAM is flatter.", "reference": "a paper", "quantity": "sharpness"}
    config["studies"]["own"]["claims"] = {"flatter": claim}
    before = plan_of(config)
    claim["statement"] = "GAM ends flatter."
    after = plan_of(config)
    assert before.check_spec("own") == after.check_spec("own")
    assert before.report_spec() != after.report_spec()
    assert after.report_spec()["statements"]["own"]["flatter"]["statement"] == "GAM ends flatter."
    claim["quantity"] = "trace"
    assert plan_of(config).check_spec("own") != before.check_spec("own")


def test_the_checks_ask_the_kinds_of_the_cells(plan_of):
    config = copy.deepcopy(CONFIG)
    before = plan_of(config).check_code("own")
    config["studies"]["own"]["grid"][1]["methods"] = ["sgd"]  # no GAM any more
    assert plan_of(config).check_code("own") != before
