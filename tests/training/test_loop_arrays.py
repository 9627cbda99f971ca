"""What callbacks keep between steps, the arrays that they leave, and how claims come to them."""

import sys
import types
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from boundcheck.callbacks import CALLBACKS
from boundcheck.cells.cell import build_callbacks
from boundcheck.report.result_folders import read_tables
from boundcheck.training.recorders import Recorders
from boundcheck.training.snapshots import write_snapshots
from boundcheck.training.train import train

RESNET = {"name": "net", "kind": "resnet", "depth": 8, "width": 2}


@dataclass
class Keeper:
    """Keeps the losses of every `every`-th step."""

    every: int = 1

    needs_gradient: ClassVar[bool] = False
    losses: list = field(init=False, default_factory=list)

    def __post_init__(self):
        if self.every < 1:
            raise ValueError(f"every: got {self.every}; allowed: >= 1")

    def on_step(self, training):
        if training.step % self.every == 0:
            self.losses.append(training.losses.clone())

    def on_epoch(self, training):
        pass

    def state_dict(self):
        return {"losses": self.losses}

    def load_state_dict(self, state):
        self.losses = list(state["losses"])

    def arrays(self):
        return {
            "losses": torch.stack(self.losses, dim=1),
            "count": torch.full((len(self.losses[0]),), len(self.losses)),
        }


@dataclass(frozen=True)
class Shapeless:
    """Leaves an array without the axis of the seeds."""

    needs_gradient: ClassVar[bool] = False

    def on_step(self, training):
        pass

    def on_epoch(self, training):
        pass

    def arrays(self):
        return {"total": torch.zeros(7, 3)}


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setitem(sys.modules, "keeping_callbacks", types.SimpleNamespace(Keeper=Keeper, Shapeless=Shapeless))
    monkeypatch.setitem(CALLBACKS, "keeper", "keeping_callbacks:Keeper")
    monkeypatch.setitem(CALLBACKS, "shapeless", "keeping_callbacks:Shapeless")


@pytest.mark.parametrize("model", [None, RESNET])
def test_arrays_of_all_seeds_come_back_by_seed(spec_of, arrays, identity_of, tmp_path, model):
    """Of seeds trained at once or one after another, in one batch or several."""
    changes = {} if model is None else {"model": model, "training": {"epochs": 1, "precision": "float32"}}
    record = ["loss", {"kind": "keeper", "every": 2}]
    for seeds in ([0, 1], [2, 3]):
        spec = spec_of(seeds=seeds, snapshots=[0], record=record, **changes)
        train(spec, arrays, tmp_path / "digits" / "net" / "sgd" / f"seeds_{seeds[0]}-{seeds[1]}")
    batches = [f"digits/net/sgd/seeds_{name}" for name in ("0-1", "2-3")]
    settings = {key: spec[key] for key in ("dataset", "model", "method", "training", "record")}
    cells = {"digits/net/sgd": {**settings, "roles": ["main"], "measured": False}}
    made_from = {batch: identity_of(tmp_path / batch) for batch in batches}
    tables = read_tables(made_from, cells, [], tmp_path)
    found = tables.arrays("digits", "net", "sgd", "keeper")
    curves = tables.curves[tables.curves["quantity"] == "train_loss"]
    assert sorted(found) == [0, 1, 2, 3]
    for seed, named in found.items():
        expected = curves[(curves["seed"] == seed) & (curves["step"] % 2 == 0)].sort_values("step")["value"]
        np.testing.assert_array_equal(named["losses"], expected)
        assert named["count"] == len(expected)
    assert tables.arrays("digits", "net", "sgd", "bits") == {}
    assert tables.arrays("digits", "net", "gam", "keeper") == {}


def test_arrays_survive_a_kill(spec_of, arrays, tmp_path, monkeypatch):
    """Die before the outputs are written, with every state on disk; the second call only writes them."""
    from boundcheck.training import train as stage

    spec = spec_of(record=["keeper"], seeds=[0, 1], model=RESNET, training={"precision": "float32"})
    train(spec, arrays, tmp_path / "whole")
    with monkeypatch.context() as broken:
        broken.setattr(stage, "_write_curves", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(spec, arrays, tmp_path / "cut")
    train(spec, arrays, tmp_path / "cut")
    files = [tmp_path / name / "snapshots" / "keeper.safetensors" for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_shorter_arrays_are_padded(tmp_path):
    stacks = [
        {"keeper": {"losses": torch.ones(1, 3), "bits": torch.ones(1, 3, 2, dtype=torch.uint8)}},
        {"keeper": {"losses": torch.ones(1, 2), "bits": torch.ones(1, 2, 2, dtype=torch.uint8)}},
    ]
    write_snapshots({}, stacks, tmp_path / "snapshots")
    found = load_file(tmp_path / "snapshots" / "keeper.safetensors")
    assert found["losses"][0].tolist() == [1, 1, 1]
    assert found["losses"][1, :2].tolist() == [1, 1]
    assert found["losses"][1, 2].isnan()
    assert found["bits"].flatten(1).tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert found["bits"].dtype == torch.uint8


def test_an_array_without_the_axis_of_the_seeds_is_refused():
    with pytest.raises(ValueError, match=r"shapeless: got total of shape \(7, 3\); allowed: a leading axis of 2 seeds"):
        Recorders(build_callbacks(["shapeless"])).arrays(2)


def test_a_kind_stands_in_record_once():
    with pytest.raises(ValueError, match="got keeper twice; allowed: each kind once"):
        build_callbacks(["keeper", {"kind": "keeper", "every": 3}])


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("keepr", "unknown kind 'keepr'"),
        ({"kind": "keeper", "evry": 2}, "evry: keeper has no such setting; allowed: every"),
        ({"kind": "keeper", "losses": []}, "losses: keeper has no such setting"),
        ({"kind": "keeper", "every": 0}, "every: got 0"),
    ],
)
def test_a_mistake_in_record_is_named(entry, problem):
    with pytest.raises(ValueError, match=problem):
        build_callbacks(["loss", entry])
