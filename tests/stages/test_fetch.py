from __future__ import annotations

import pytest

from boundcheck.data.arrays import read_arrays
from boundcheck.data.errors import DataError
from boundcheck.stages.fetch import fetch


def test_a_dataset_is_written_where_the_rule_wants_it(tmp_path):
    output = tmp_path / "data" / "mnist5k" / "arrays.safetensors"
    fetch({"kind": "mnist5k"}, output)
    assert read_arrays(output.parent).num_classes == 10
    assert set(output.parent.iterdir()) == {output, output.with_name("provenance.json")}


def test_a_failure_leaves_nothing(tmp_path):
    output = tmp_path / "data" / "mine" / "arrays.safetensors"
    with pytest.raises(DataError, match="nowhere: no such folder or archive"):
        fetch({"kind": "image_folder", "path": str(tmp_path / "nowhere")}, output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "name", "match"),
    [
        ({"kind": "digitz"}, "arrays.safetensors", "unknown kind 'digitz'"),
        ({"kind": "digits", "train_size": 10}, "arrays.safetensors", "train_size: digits has no such setting"),
        ({"kind": "digits"}, "digits.pt", "output: got .*allowed: a path that ends in arrays.safetensors"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path, spec, name, match):
    with pytest.raises(ValueError, match=match):
        fetch(spec, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
