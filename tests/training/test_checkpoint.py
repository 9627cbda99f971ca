import pytest
import torch

from boundcheck.manifests import file_digest
from boundcheck.training import checkpoint

JOB = {"settings": "these", "threads": "1"}
STATE = {
    "tensor": torch.arange(6.0, dtype=torch.float64).reshape(2, 3),
    "bytes": torch.Generator().get_state(),
    "nested": [{0: {"momentum": torch.ones(2)}, 1: None}, (1, 2.5, "x", True)],
    "empty": [],
}


def same(first, second):
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and first.equal(second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return type(first) is type(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def test_a_state_comes_back_as_it_was(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    checkpoint.save(path, STATE, JOB)
    assert same(STATE, checkpoint.load(path, JOB))
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]


def test_the_checkpoint_of_another_job_is_set_aside(tmp_path, capsys):
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, STATE, JOB)
    assert checkpoint.load_or_set_aside(path, {"settings": "other", "threads": "1"}) is None
    assert not path.exists()
    assert (tmp_path / "state.safetensors.refused").exists()
    assert "another job: settings was these, is other; set aside" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"\x00" * 100,
        lambda b: b"",
        lambda b: b"junk" + b,
        lambda b: b[:-1] + bytes([b[-1] ^ 1]),  # one bit of a tensor
    ],
)
def test_a_damaged_checkpoint_is_set_aside(tmp_path, damage, capsys):
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, STATE, JOB)
    path.write_bytes(damage(path.read_bytes()))
    assert checkpoint.load_or_set_aside(path, JOB) is None
    assert "refused" in capsys.readouterr().out


def test_a_state_whose_snapshot_was_damaged_is_set_aside(tmp_path, capsys):
    path, snapshot = tmp_path / "state.safetensors", tmp_path / "epoch_1.safetensors"
    snapshot.write_bytes(b"weights")
    checkpoint.save(path, {**STATE, "snapshot_digests": {snapshot.name: file_digest(snapshot)}}, JOB)
    assert checkpoint.load_or_set_aside(path, JOB) is not None
    snapshot.write_bytes(b"weighta")
    assert checkpoint.load_or_set_aside(path, JOB) is None
    assert "epoch_1.safetensors: damaged or missing; set aside" in capsys.readouterr().out


def test_a_write_that_fails_leaves_the_old_state(tmp_path):
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, STATE, JOB)
    with pytest.raises(TypeError, match="set"):
        checkpoint.save(path, {"x": {1, 2}}, JOB)
    assert same(STATE, checkpoint.load(path, JOB))
