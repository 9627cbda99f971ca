"""The folder of a dataset's arrays is named by what decides them."""

import pytest

from boundcheck.planning.fetches import data_name
from boundcheck.planning.grid import make_plan

FOLDER = {"kind": "image_folder", "path": "images", "size": 8}
BLOCK = {"datasets": ["mine", "digits"], "models": ["mlp"], "methods": ["sgd"], "seeds": 3}
SHARED = {
    "models": {"mlp": {"kind": "mlp", "depth": 1, "width": 8}},
    "methods": {"sgd": {"kind": "sgd", "lr": 0.1}},
}


def test_a_kind_alone_is_its_folder():
    assert data_name({"kind": "digits", "train_size": 100, "normalise": "sphere"}) == "digits"


@pytest.mark.parametrize("changed", [{"path": "other"}, {"size": 9}])
def test_another_source_is_another_folder(changed):
    assert data_name(FOLDER) == data_name(dict(reversed(FOLDER.items()))) == data_name({**FOLDER, "pool": 4})
    assert data_name(FOLDER).startswith("image_folder-")
    assert data_name(FOLDER) != data_name({**FOLDER, **changed})


def test_one_name_for_two_datasets_is_two_fetches_and_two_names_for_one_are_one(make_config):
    small, large = {"kind": "digits", "train_size": 100}, {"kind": "digits", "train_size": 200}
    studies = {
        "a": {"datasets": {"mine": FOLDER, "digits": small}, "grid": [BLOCK]},
        "b": {"datasets": {"mine": {**FOLDER, "path": "others"}, "digits": large}, "grid": [BLOCK]},
    }
    plan = make_plan([make_config({"name": "tiny", **SHARED, "studies": studies})])
    assert len(plan.fetches) == 3
    folders = {batch.cell: batch.data for batch in plan.batches.values()}
    assert folders["a/mine/mlp/sgd"] != folders["b/mine/mlp/sgd"]
    assert folders["a/digits/mlp/sgd"] == folders["b/digits/mlp/sgd"] == ("digits",)
