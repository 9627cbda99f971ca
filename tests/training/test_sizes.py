"""A training that its sizes make senseless ends before its first step."""

import pytest

from boundcheck.data.errors import DataError
from boundcheck.training.train import train

BINARY = {"name": "net", "kind": "binary_mlp", "depth": 1, "width": 4}


def test_a_batch_of_one_is_told_before_the_first_step(spec_of, arrays, tmp_path, capsys):
    size = spec_of()["dataset"]["train_size"] - 1
    spec = spec_of(model=BINARY, training={"batch_size": size})
    with pytest.raises(DataError, match=rf"batch_size {size} and {size + 1} training examples make a batch of 1, and"):
        train(spec, arrays, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().out == ""


def test_a_batch_larger_than_the_data_is_told(spec_of, arrays, tmp_path, capsys):
    size = spec_of()["dataset"]["train_size"] + 1
    train(spec_of(seeds=[0], training={"batch_size": size, "epochs": 1}, snapshots=[]), arrays, tmp_path / "out")
    told = f"batch_size {size} is more than the {size - 1} training examples: every step uses all of them"
    assert capsys.readouterr().out.splitlines()[0] == told
