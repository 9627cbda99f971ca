from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from boundcheck.data import DATASETS
from boundcheck.data.arrays import read_arrays, write_arrays
from boundcheck.data.errors import DataError
from boundcheck.data.fetch import fetch, told


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


@dataclass(frozen=True)
class Dots:
    """Two images of one pixel, written as contracts.py says."""

    def fetch(self, root):
        labels = np.array([0, 1])
        images = labels.astype(np.uint8).reshape(2, 1, 1, 1)
        write_arrays(root, (images, labels), (images, labels), ["off", "on"], source="two dots")

    def load(self, root):
        return read_arrays(root)


@dataclass(frozen=True)
class Nothing(Dots):
    """A dataset that writes its file under another name."""

    def fetch(self, root):
        root.mkdir()
        (root / "dots.npz").touch()


def test_a_new_kind_needs_write_arrays_and_read_arrays_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "dots", f"{__name__}:Dots")
    output = tmp_path / "dots" / "arrays.safetensors"
    fetch({"kind": "dots"}, output)
    assert Dots().load(output.parent).train.labels.tolist() == [0, 1]


def test_a_kind_that_writes_no_array_file_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "nothing", f"{__name__}:Nothing")
    output = tmp_path / "dots" / "arrays.safetensors"
    with pytest.raises(DataError, match=r"arrays\.safetensors: the kind 'nothing' wrote no such file; .*write_arrays"):
        fetch({"kind": "nothing"}, output)
    assert not output.with_name("provenance.json").exists()


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


def test_what_was_read_is_in_the_log_and_in_the_provenance(tmp_path, pictures, capsys):
    folder, _ = pictures
    (folder / "train/ant/a\x1b[2J\n.txt").write_text("text")
    output = tmp_path / "mine" / "arrays.safetensors"
    fetch({"kind": "image_folder", "path": str(folder)}, output)
    assert capsys.readouterr().out.splitlines() == [
        "class 0: 'ant': train 3, test 2",
        "class 1: 'cat': train 3, test 2",
        r"passed over: 1 (suffix .txt), first 'train/ant/a\x1b[2J\n.txt'",
    ]
    read = json.loads(output.with_name("provenance.json").read_text())["read"]
    assert read["classes"] == ["ant", "cat"]
    assert read["pictures"] == {"train": {"ant": 3, "cat": 3}, "test": {"ant": 2, "cat": 2}}
    assert read["passed over"]["suffix .txt"]["files"] == 1


def test_many_classes_are_not_all_in_the_log():
    classes = [str(number) for number in range(1000)]
    counts = dict.fromkeys(classes, 1)
    lines = list(told({"classes": classes, "pictures": {"train": counts, "test": counts}}))
    assert len(lines) == 21
    assert lines[-1] == "and 980 more classes: see provenance.json"
